-- grain: one row: what is stored of the conversations that a sync of [$since, $until) concerns
-- `work` holds those with messages that are not stored yet. The sync will list what was active in
-- [$list_since, ...); of that, conversations last active before $reach can belong to the range.
with concerned as (
    select
        last_message_at < $until as ended_before,
        coalesce(last_message_at >= $list_since and last_message_at < $reach, false) as is_counted,
        conversation_id in (select conversation_id from work) as is_work
    from zipchat.raw_conversations
    where chat_id = $chat_id
        and missing_since is null
        and (created_at < $until or created_at is null)
        and (last_message_at >= $since or last_message_at is null)
),
lengths as (
    select count(*) as messages
    from zipchat.raw_messages
    where chat_id = $chat_id
    group by conversation_id
)
select
    (select count(*) from zipchat.users where chat_id = $chat_id and is_current) as users,
    (select coalesce(avg(1 + messages // $page_size), 1) from lengths) as pages_per_conversation,
    count(*) filter (where not is_work) as complete,
    count(*) filter (where not is_work and is_counted) as complete_counted,
    count(*) filter (where not is_work and is_counted and ended_before) as complete_surely_counted,
    count(*) filter (where is_work and not is_counted) as work_not_counted
from concerned
