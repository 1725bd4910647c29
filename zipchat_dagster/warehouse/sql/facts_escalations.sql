-- grain: one row per escalation of `spans`
create or replace temp table new_escalations as
with replied as (
    select chat_id, conversation_id, escalated_at, count(*) as replies, count(distinct sender_id) as agents
    from messages
    where author = 'human' and escalated_at is not null
    group by all
),
-- Several states may be observed between two assignees.
assigned as (
    select
        history.chat_id,
        history.conversation_id,
        spans.escalated_at,
        history.assignee_id <> lag(history.assignee_id) over (
            partition by history.chat_id, history.conversation_id, spans.escalated_at order by history.observed_at
        ) as is_other
    from zipchat.conversation_history as history
    inner join spans
        on spans.chat_id = history.chat_id
        and spans.conversation_id = history.conversation_id
        and spans.escalated_at = history.last_escalated_at
    where history.assignee_id is not null
        and coalesce(history.last_escalation_resolved_at < spans.resolved_at, true)
),
reassigned as (
    select chat_id, conversation_id, escalated_at, count(*) as reassignments
    from assigned
    where is_other
    group by all
),
waited as (
    select chat_id, conversation_id, escalated_at, sum(elapsed_seconds) as seconds
    from new_sla_events
    where metric <> 'resolution'
    group by all
),
-- Turns are numbered, so the number of the last one is how many there were.
asked as (
    select chat_id, conversation_id, asked_at, max(turn) as turns
    from turns
    group by all
),
silent as (
    select chat_id, conversation_id, max(created_at) as since
    from messages
    where author = 'customer'
    group by all
)
select
    spans.* exclude (waited_until, first_response_id),
    coalesce(asked.turns, 0) as turns_before,
    epoch(spans.escalated_at) - epoch(conversation.created_at) as seconds_to_escalation,
    epoch(spans.first_response_at) - epoch(spans.escalated_at) as first_response_seconds,
    responded.seconds - began.seconds as first_response_business_seconds,
    epoch(spans.resolved_at) - epoch(spans.escalated_at) as resolution_seconds,
    resolved.seconds - began.seconds as resolution_business_seconds,
    coalesce(replied.replies, 0) as replies,
    coalesce(replied.agents, 0) as agents,
    coalesce(reassigned.reassignments, 0) as reassignments,
    waited.seconds as customer_wait_seconds,
    spans.resolved_at is not null and replied.replies is not distinct from 1 as is_one_touch,
    spans.first_response_at is null
    and (
        spans.waited_until is not null
        or $now::timestamptz - interval 24 hour > greatest(silent.since, spans.escalated_at)
    ) as is_abandoned,
    $now::timestamptz as computed_at
from spans
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
left join replied using (chat_id, conversation_id, escalated_at)
left join reassigned using (chat_id, conversation_id, escalated_at)
left join waited using (chat_id, conversation_id, escalated_at)
left join silent using (chat_id, conversation_id)
left join clock as began on began.at = spans.escalated_at
left join clock as responded on responded.at = spans.first_response_at
left join clock as resolved on resolved.at = spans.resolved_at
asof left join asked
    on asked.chat_id = spans.chat_id
    and asked.conversation_id = spans.conversation_id
    and asked.asked_at < spans.escalated_at
