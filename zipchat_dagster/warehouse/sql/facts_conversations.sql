-- grain: one row per conversation of `changed` that is stored
-- `changed` has all conversations of the lead of one that may be automated.
create or replace temp table new_conversation_facts as
with spoken as (
    select
        chat_id,
        conversation_id,
        count(*) filter (author = 'customer') as customer_messages,
        count(*) filter (author = 'ai') as ai_messages,
        count(*) filter (author = 'human') as human_messages,
        count(distinct sender_id) filter (author = 'human') as agents,
        min(created_at) filter (author = 'customer') as first_customer_message_at,
        max(created_at) filter (author = 'customer') as last_customer_message_at,
        min(created_at) filter (author = 'human') as first_human_answer_at,
        max(created_at) as last_message_at,
        arg_max_null(author, number) as last_author,
        coalesce(
            max(number) filter (author = 'ai') > min(number) filter (author = 'customer'), false
        ) as is_ai_involved
    from messages
    group by all
),
asked as (
    select
        chat_id,
        conversation_id,
        count(*) as customer_turns,
        count(*) filter (answered_by = 'ai') as turns_answered_by_ai,
        count(*) filter (answered_by = 'human') as turns_answered_by_human,
        count(*) filter (answered_by is null) as turns_unanswered,
        arg_min(answer_seconds, turn) filter (answered_by = 'ai') as first_ai_answer_seconds
    from new_customer_turns
    group by all
),
reopened as (
    select
        *,
        lag(resolved_at) over (partition by chat_id, conversation_id order by escalated_at) as resolved_before_at
    from new_escalations
),
escalated as (
    select
        chat_id,
        conversation_id,
        count(*) as escalations,
        min(escalated_at) as first_escalated_at,
        max(escalated_at) as last_escalated_at,
        max(resolved_at) as last_resolved_at,
        bool_or(is_open) as is_open,
        min(escalated_at) filter (resolved_before_at is not null) as reopened_at,
        arg_min(resolved_before_at, escalated_at) as reopened_from
    from reopened
    group by all
),
first_of_lead as (
    select chat_id, lead_id, arg_min(conversation_id, (created_at, conversation_id)) as conversation_id
    from zipchat.raw_conversations
    semi join (
        from zipchat.raw_conversations semi join changed using (chat_id, conversation_id)
    ) as conversation using (chat_id, lead_id)
    group by chat_id, lead_id
),
known as (
    select
        conversation.chat_id,
        conversation.conversation_id,
        conversation.partition_date,
        conversation.created_at,
        conversation.channel,
        conversation.lead_id,
        conversation.conversation_id = first_of_lead.conversation_id as is_first_of_lead,
        coalesce(completeness.complete_from <= conversation.created_at, false) as is_complete
    from zipchat.raw_conversations as conversation
    semi join changed using (chat_id, conversation_id)
    left join first_of_lead using (chat_id, lead_id)
    left join zipchat.message_completeness as completeness using (chat_id, conversation_id)
),
counted as (
    select
        known.*,
        coalesce(customer_messages, 0) as customer_messages,
        coalesce(ai_messages, 0) as ai_messages,
        coalesce(human_messages, 0) as human_messages,
        coalesce(agents, 0) as agents,
        coalesce(customer_turns, 0) as customer_turns,
        coalesce(turns_answered_by_ai, 0) as turns_answered_by_ai,
        coalesce(turns_answered_by_human, 0) as turns_answered_by_human,
        coalesce(turns_unanswered, 0) as turns_unanswered,
        first_customer_message_at,
        last_customer_message_at,
        first_ai_answer_seconds,
        first_human_answer_at,
        last_message_at,
        last_author,
        coalesce(escalations, 0) as escalations,
        first_escalated_at,
        last_escalated_at,
        last_resolved_at,
        coalesce(is_open, false) as is_open,
        reopened_at,
        epoch(reopened_at) - epoch(reopened_from) as reopened_after_seconds,
        coalesce(is_ai_involved, false) as is_ai_involved,
        coalesce(is_ai_involved and last_author = 'ai', false)
        and coalesce(human_messages, 0) = 0
        and coalesce(escalations, 0) = 0 as is_left_to_ai,
        last_message_at + to_hours($quiet_hours) <= $now::timestamptz as is_quiet
    from known
    left join spoken using (chat_id, conversation_id)
    left join asked using (chat_id, conversation_id)
    left join escalated using (chat_id, conversation_id)
),
judged as (
    select
        * exclude (is_left_to_ai, is_quiet),
        is_left_to_ai and not is_quiet as is_automation_pending,
        is_left_to_ai and is_quiet as is_automated
    from counted
),
contacts as (
    select known.chat_id, known.lead_id, messages.created_at
    from messages
    inner join known using (chat_id, conversation_id)
    where messages.author = 'customer' and known.lead_id is not null
),
-- After the last message here, only messages in other conversations follow.
repeated as (
    select judged.chat_id, judged.conversation_id, contacts.created_at as repeat_contact_at
    from judged
    asof inner join contacts
        on contacts.chat_id = judged.chat_id
        and contacts.lead_id = judged.lead_id
        and contacts.created_at > judged.last_message_at
    where judged.is_automated and contacts.created_at <= judged.last_message_at + interval 7 day
)
select judged.*, repeated.repeat_contact_at, $now::timestamptz as computed_at
from judged
left join repeated using (chat_id, conversation_id)
