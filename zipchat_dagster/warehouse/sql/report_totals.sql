-- grain: one row: the days $first to $last taken as one, as they stood at $as_of
-- The definitions are those of escalation_metrics with the whole range in place of the day: a
-- conversation active on three days counts once, and percentiles are over all its escalations.
with escalated as (
    select
        conversation_id,
        case when first_response_at <= $as_of then epoch(first_response_at) - epoch(escalated_at) end as response_seconds,
        case when resolved_at <= $as_of then epoch(resolved_at) - epoch(escalated_at) end as resolution_seconds,
        response_seconds is not null
        or ended_at <= $as_of
        or epoch($as_of::timestamptz) - epoch(escalated_at) >= $target_seconds::double as is_due
    from zipchat.escalations
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and escalated_at <= $as_of
),
active as (
    select conversation_id, not bool_or(is_human or is_escalated) as is_contained
    from (
        select conversation_id, manual_reply is true as is_human, false as is_escalated
        from zipchat.raw_messages
        where chat_id = $chat_id
            and partition_date between $first::date and $last::date
            and created_at <= $as_of
        union all
        select conversation_id, false, true from escalated
    )
    group by conversation_id
),
waiting as (
    select coalesce(first_response_at <= $as_of, false) as is_answered
    from zipchat.escalations
    where chat_id = $chat_id and escalated_at < $as_of and coalesce(ended_at >= $as_of, true)
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
        case
            when $target_seconds::double is not null
            then count(*) filter (response_seconds <= $target_seconds::double) / nullif(count(*) filter (is_due), 0)
        end as answered_within_target_rate,
        case
            when $target_seconds::double is not null then count(*) - count(*) filter (is_due)
        end as pending_within_target,
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
    answered_within_target_rate,
    pending_within_target,
    first_response_seconds_p50,
    first_response_seconds_p90,
    resolution_seconds_p50,
    resolution_seconds_p90,
    days_measured
from volume, outcome, backlog, measured
