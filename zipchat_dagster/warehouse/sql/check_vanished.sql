-- grain: one row: of the conversations that the API was asked about in the last day, how many were gone
-- "The last day" ends with the newest observation, so that the verdict stands while nothing runs.
with recent as (
    select conversation_id, missing_since
    from zipchat.raw_conversations
    where observed_at >= (select max(observed_at) from zipchat.raw_conversations) - interval 1 day
),
gone as (
    select conversation_id from recent
    where missing_since >= (select max(observed_at) from zipchat.raw_conversations) - interval 1 day
)
select
    (select count(*) from recent) as asked,
    (select count(*) from gone) as gone,
    (select count(*) from zipchat.raw_conversations where missing_since is not null) as missing_ever,
    (select coalesce(list(conversation_id order by conversation_id), []) from gone)[1:$most] as ids
