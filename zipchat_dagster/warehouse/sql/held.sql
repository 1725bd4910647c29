-- grain: one row: what is stored of the conversations that a sync of [$since, $until) concerns
-- The band [$band_since, $band_until) is what has to be listed for the first time; `work` holds the
-- conversations whose stored messages do not reach their newest one.
with concerned as (
    select
        conversation.conversation_id in (select conversation_id from work) as is_work,
        coalesce(
            conversation.last_message_at >= $band_since and conversation.last_message_at < $band_until,
            false
        ) as is_in_band
    from zipchat.raw_conversations as conversation
    where conversation.chat_id = $chat_id
        and conversation.missing_since is null
        and (conversation.created_at < $until or conversation.created_at is null)
        and (conversation.last_message_at >= $since or conversation.last_message_at is null)
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
    count(*) filter (where not is_work and is_in_band) as complete_in_band,
    count(*) filter (where is_work and not is_in_band) as work_outside_band
from concerned
