-- grain: one row per step of $step_days days, counted back from $last; the earliest may be shorter
-- Volumes and backlog come from escalation_metrics (NULL where a day was not computed), as means per
-- day; times come from the escalations themselves, so that percentiles are exact for any step.
with days as (
    select
        day::date as day,
        greatest(
            $first::date,
            $last::date + 1 - ($step_days * (1 + ($last::date - day::date) // $step_days))::integer
        ) as step
    from generate_series($first::date, $last::date, interval 1 day) as series (day)
),
measured as (
    select
        days.step,
        avg(conversations_active) as conversations_active,
        avg(escalated_conversations) as escalated_conversations,
        sum(escalations)::double as escalations,
        sum(escalated_conversations) / nullif(sum(conversations_active), 0) as escalation_rate,
        arg_max(backlog_at_day_end, partition_date)::double as backlog_at_end
    from days
    inner join zipchat.escalation_metrics
        on partition_date = days.day and chat_id = $chat_id and dimension = 'all'
    where partition_date <= cast(timezone($timezone, $now::timestamptz) as date)
    group by days.step
),
timed as (
    select
        days.step,
        count(first_response_at) as answered,
        count(resolved_at) as resolved,
        quantile_cont(epoch(first_response_at) - epoch(escalated_at), 0.5) as first_response_seconds_p50,
        quantile_cont(epoch(first_response_at) - epoch(escalated_at), 0.9) as first_response_seconds_p90,
        quantile_cont(epoch(resolved_at) - epoch(escalated_at), 0.5) as resolution_seconds_p50,
        quantile_cont(epoch(resolved_at) - epoch(escalated_at), 0.9) as resolution_seconds_p90
    from days
    inner join zipchat.escalations on partition_date = days.day and chat_id = $chat_id
    group by days.step
)
select
    steps.*,
    measured.* exclude (step),
    coalesce(timed.answered, 0) as answered,
    coalesce(timed.resolved, 0) as resolved,
    timed.* exclude (step, answered, resolved)
from (select step, min(day) as first_day, max(day) as last_day from days group by step) as steps
left join measured on measured.step = steps.step
left join timed on timed.step = steps.step
order by steps.step
