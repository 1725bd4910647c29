-- grain: one row: the days $first to $last taken as one, as they stood at $as_of
-- The definitions are those of escalation_metrics with the whole range in place of the day: a
-- conversation active on three days counts once, and percentiles are over all its escalations.
with escalated as (
    select
        conversation_id,
        case when first_response_at <= $as_of then epoch(first_response_at - escalated_at) end as response_seconds,
        case when resolved_at <= $as_of then epoch(resolved_at - escalated_at) end as resolution_seconds
    from zipchat.escalations
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and escalated_at <= $as_of
),
active as (
    select
        conversation_id,
        not bool_or(manual_reply is true)
        and conversation_id not in (select conversation_id from escalated) as is_contained
    from zipchat.raw_messages
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and created_at <= $as_of
    group by conversation_id
),
waiting as (
    select coalesce(first_response_at <= $as_of, false) as is_answered
    from zipchat.escalations as escalation
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = escalation.chat_id
        and conversation.conversation_id = escalation.conversation_id
    where escalation.chat_id = $chat_id
        and escalated_at < $as_of
        -- least() passes over NULLs: the first of what ended it, NULL while it is open
        and coalesce(least(resolved_at, superseded_at, conversation.missing_since) >= $as_of, true)
),
volume as (
    select count(*) as conversations_active, count(*) filter (is_contained) as contained
    from active
),
outcome as (
    select
        count(*) as escalations,
        count(distinct conversation_id) as escalated_conversations,
        count(response_seconds) as answered,
        count(*) - count(response_seconds) as unanswered,
        count(resolution_seconds) as resolved,
        quantile_cont(response_seconds, 0.5) as first_response_seconds_p50,
        quantile_cont(response_seconds, 0.9) as first_response_seconds_p90,
        quantile_cont(resolution_seconds, 0.5) as resolution_seconds_p50,
        quantile_cont(resolution_seconds, 0.9) as resolution_seconds_p90
    from escalated
),
backlog as (
    select count(*) as open_now, count(*) filter (not is_answered) as open_unanswered
    from waiting
),
measured as (
    select count(*) as days_measured
    from zipchat.escalation_metrics
    where chat_id = $chat_id and dimension = 'all' and partition_date between $first::date and $last::date
)
select
    conversations_active,
    escalations,
    escalated_conversations,
    answered,
    unanswered,
    resolved,
    open_now,
    open_unanswered,
    escalated_conversations / nullif(conversations_active, 0) as escalation_rate,
    contained / nullif(conversations_active, 0) as containment_rate,
    resolved / nullif(escalations, 0) as resolution_rate,
    first_response_seconds_p50,
    first_response_seconds_p90,
    resolution_seconds_p50,
    resolution_seconds_p90,
    days_measured
from volume, outcome, backlog, measured
