-- grain: one row per conversation without facts, or whose facts count other turns, customer messages or
-- escalations than are stored, at most $most
with turns as (
    select conversation_id, count(*) as turns, sum(customer_messages) as messages
    from (select distinct conversation_id, turn, customer_messages from zipchat.customer_turns where chat_id = $chat_id)
    group by conversation_id
),
escalated as (
    select conversation_id, count(distinct escalated_at) as escalations
    from zipchat.escalations
    where chat_id = $chat_id
    group by conversation_id
)
select
    conversation.conversation_id as offender,
    count(*) over () as offenders
from zipchat.raw_conversations as conversation
-- not those that the next run derives
anti join zipchat.changed_conversations using (chat_id, conversation_id)
left join zipchat.conversation_facts as facts using (chat_id, conversation_id)
left join turns using (conversation_id)
left join escalated using (conversation_id)
where conversation.chat_id = $chat_id
    and (facts.customer_turns, facts.customer_messages, facts.escalations)
    is distinct from (coalesce(turns, 0), coalesce(messages, 0), coalesce(escalated.escalations, 0))
order by offender
limit $most
