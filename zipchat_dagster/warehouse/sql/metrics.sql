-- grain: one row per day of `days`, dimension (all, channel, agent) and its value
-- What each column means is in schema.sql. A rate without a denominator is NULL, and so is what has
-- no meaning for an agent: an agent starts no conversations and receives no messages.
insert into computed by name
with active as (
    select
        day,
        conversation_id,
        any_value(channel) as channel,
        bool_or(is_escalated) as is_escalated,
        not bool_or(is_escalated or is_human) as is_contained
    from (
        select day, conversation_id, channel, is_human, false as is_escalated from written
        union all
        select day, conversation_id, channel, false, true from escalated
    )
    group by day, conversation_id
),
started_by as (
    select partition_date as day, dimension, dimension_value, count(*) as conversations_started
    from zipchat.raw_conversations,
        lateral (values ('all', 'all'), ('channel', coalesce(channel, 'unknown'))) as slice (dimension, dimension_value)
    where chat_id = $chat_id and partition_date in (select day from days)
    group by all
),
active_by as (
    select
        day, dimension, dimension_value,
        count(*) as conversations_active,
        count(*) filter (is_escalated) as escalated_conversations,
        count(*) filter (is_contained) as contained
    from active, lateral (values ('all', 'all'), ('channel', channel)) as slice (dimension, dimension_value)
    group by all
    union all by name
    select day, 'agent' as dimension, agent as dimension_value, count(distinct conversation_id) as escalated_conversations
    from escalated
    group by all
),
written_by as (
    select
        day, dimension, dimension_value,
        count(*) filter (is_customer) as customer_messages,
        count(*) filter (is_ai) as ai_messages,
        count(*) filter (is_human) as human_messages
    from written, lateral (values ('all', 'all'), ('channel', channel)) as slice (dimension, dimension_value)
    group by all
    union all by name
    select day, 'agent' as dimension, coalesce(sender_id::varchar, 'unassigned') as dimension_value, count(*) as human_messages
    from written
    where is_human
    group by all
),
escalated_by as (
    select
        day, dimension, dimension_value,
        count(*) as escalations,
        count(*) filter (is_reescalation) as reescalations,
        count(*) filter (is_resolved) as resolved,
        count(*) filter (is_open) as still_open,
        count(*) filter (not is_answered) as unanswered,
        quantile_cont(response_seconds, 0.5) as first_response_seconds_p50,
        quantile_cont(response_seconds, 0.9) as first_response_seconds_p90,
        quantile_cont(response_seconds, 0.95) as first_response_seconds_p95,
        quantile_cont(response_business_seconds, 0.5) as first_response_business_seconds_p50,
        quantile_cont(response_business_seconds, 0.9) as first_response_business_seconds_p90,
        quantile_cont(response_business_seconds, 0.95) as first_response_business_seconds_p95,
        count(*) filter (is_due) as due,
        count(*) filter (is_in_time) as in_time,
        quantile_cont(resolution_seconds, 0.5) as resolution_seconds_p50,
        quantile_cont(resolution_seconds, 0.9) as resolution_seconds_p90,
        avg(resolution_seconds) as resolution_seconds_mean,
        quantile_cont(resolution_business_seconds, 0.5) as resolution_business_seconds_p50,
        quantile_cont(resolution_business_seconds, 0.9) as resolution_business_seconds_p90,
        count(*) filter (response_seconds < 3600) as responses_under_1h,
        count(*) filter (response_seconds >= 3600 and response_seconds < 14400) as responses_1h_to_4h,
        count(*) filter (response_seconds >= 14400 and response_seconds < 28800) as responses_4h_to_8h,
        count(*) filter (response_seconds >= 28800 and response_seconds < 86400) as responses_8h_to_24h,
        count(*) filter (response_seconds >= 86400) as responses_over_24h,
        count(*) filter (is_one_touch) as one_touch,
        count(*) filter (is_abandoned) as abandoned
    from escalated,
        lateral (values ('all', 'all'), ('channel', channel), ('agent', agent)) as slice (dimension, dimension_value)
    group by all
),
replied_by as (
    select
        partition_date as day, dimension, dimension_value,
        quantile_cont(elapsed_seconds, 0.5) as next_response_seconds_p50,
        quantile_cont(elapsed_seconds, 0.9) as next_response_seconds_p90
    from zipchat.sla_events,
        lateral (values
            ('all', 'all'),
            ('channel', coalesce(channel, 'unknown')),
            ('agent', coalesce(agent_id::varchar, 'unassigned'))
        ) as slice (dimension, dimension_value)
    where chat_id = $chat_id and metric = 'next_response' and is_kept and partition_date in (select day from days)
    group by all
),
waiting_by as (
    select
        day, dimension, dimension_value,
        count(*) as backlog_at_day_end,
        quantile_cont(age_seconds, 0.5) as backlog_age_seconds_p50,
        max(age_seconds) as backlog_age_seconds_max
    from waiting,
        lateral (values ('all', 'all'), ('channel', channel), ('agent', agent)) as slice (dimension, dimension_value)
    group by all
),
-- Each slice has at most one row of each kind, so any value of a column is the only one.
slices as (
    select day, dimension, dimension_value, any_value(columns(* exclude (day, dimension, dimension_value)))
    from (
        select day, 'all' as dimension, 'all' as dimension_value from days
        union all by name
        from started_by
        union all by name
        from active_by
        union all by name
        from written_by
        union all by name
        from escalated_by
        union all by name
        from replied_by
        union all by name
        from waiting_by
    )
    group by all
)
select
    day as partition_date,
    $chat_id::bigint as chat_id,
    dimension,
    dimension_value,
    case when dimension <> 'agent' then coalesce(conversations_started, 0) end as conversations_started,
    case when dimension <> 'agent' then coalesce(conversations_active, 0) end as conversations_active,
    coalesce(escalated_conversations, 0) as escalated_conversations,
    coalesce(escalations, 0) as escalations,
    coalesce(reescalations, 0) as reescalations,
    coalesce(resolved, 0) as resolved,
    coalesce(still_open, 0) as still_open,
    coalesce(unanswered, 0) as unanswered,
    escalated_conversations / nullif(conversations_active, 0) as escalation_rate,
    contained / nullif(conversations_active, 0) as containment_rate,
    resolved / nullif(escalations, 0) as resolution_rate,
    first_response_seconds_p50,
    first_response_seconds_p90,
    first_response_seconds_p95,
    first_response_business_seconds_p50,
    first_response_business_seconds_p90,
    first_response_business_seconds_p95,
    case when $target_seconds::double is not null then in_time / nullif(due, 0) end as answered_within_target_rate,
    case when $target_seconds::double is not null then coalesce(escalations - due, 0) end as pending_within_target,
    resolution_seconds_p50,
    resolution_seconds_p90,
    resolution_seconds_mean,
    resolution_business_seconds_p50,
    resolution_business_seconds_p90,
    next_response_seconds_p50,
    next_response_seconds_p90,
    coalesce(responses_under_1h, 0) as responses_under_1h,
    coalesce(responses_1h_to_4h, 0) as responses_1h_to_4h,
    coalesce(responses_4h_to_8h, 0) as responses_4h_to_8h,
    coalesce(responses_8h_to_24h, 0) as responses_8h_to_24h,
    coalesce(responses_over_24h, 0) as responses_over_24h,
    coalesce(one_touch, 0) as one_touch,
    coalesce(abandoned, 0) as abandoned,
    coalesce(backlog_at_day_end, 0) as backlog_at_day_end,
    backlog_age_seconds_p50,
    backlog_age_seconds_max,
    case when dimension <> 'agent' then coalesce(customer_messages, 0) end as customer_messages,
    case when dimension <> 'agent' then coalesce(ai_messages, 0) end as ai_messages,
    coalesce(human_messages, 0) as human_messages
from slices
