-- grain: one row per conversation to derive: $most noted ones of the chat, and all others of their leads
-- since: its messages observed from then on may be new. has_other_channel: all its days count for
-- another channel than before, or it is new.
create or replace temp table changed as
with taken as (
    select chat_id, conversation_id, min(observed_at) as since
    from zipchat.changed_conversations
    where chat_id = $chat_id
    group by all
    order by all
    limit $most
),
-- A conversation may be the repeat contact of another one of its lead, or of the lead it had before.
-- That an escalation waits longer changes nothing else.
leads as (
    select unnest([conversation.chat_id, facts.chat_id]) as chat_id, unnest([conversation.lead_id, facts.lead_id]) as lead_id
    from taken
    left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
    left join zipchat.conversation_facts as facts using (chat_id, conversation_id)
    where taken.since < '9999-12-31'::timestamptz or facts.is_automation_pending
),
found as (
    select chat_id, conversation_id from taken
    union
    select chat_id, conversation_id from zipchat.raw_conversations semi join leads using (chat_id, lead_id)
),
dated as (
    select chat_id, conversation_id, coalesce(min(noted.observed_at), '9999-12-31'::timestamptz) as since
    from found
    left join zipchat.changed_conversations as noted using (chat_id, conversation_id)
    group by all
),
before as (
    select
        dated.chat_id,
        dated.conversation_id,
        arg_max_null(history.channel, history.observed_at) as channel
    from dated
    inner join zipchat.conversation_history as history using (chat_id, conversation_id)
    where history.observed_at < dated.since
    group by all
)
select
    dated.*,
    before.conversation_id is null or before.channel is distinct from conversation.channel as has_other_channel
from dated
left join before using (chat_id, conversation_id)
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
