-- grain: one row: of the conversations that the API was asked about in the last day, how many were gone
-- "The last day" ends with the newest observation, so the verdict does not change while nothing runs.
with known as (
    select
        conversation_id,
        missing_since,
        max(observed_at) over () - interval 1 day as recently,
        observed_at >= recently as is_recent,
        is_recent and coalesce(missing_since >= recently, false) as is_gone
    from zipchat.raw_conversations
    where chat_id = $chat_id
)
select
    count(*) filter (is_recent) as asked,
    count(*) filter (is_gone) as gone,
    count(missing_since) as missing_ever,
    coalesce(list(conversation_id order by conversation_id) filter (is_gone), [])[1:$most] as ids
from known
