-- grain: one row per day from $first to $last; what is in escalation_metrics is NULL where the day was not computed
select
    day::date::varchar as day,
    epoch(timezone($timezone, day + interval 1 day)) as ends_at,
    partition_date is not null as is_computed,
    escalations,
    first_response_seconds_p50 as p50,
    first_response_seconds_p90 as p90,
    backlog_at_day_end as backlog
from generate_series($first::date, $last::date, interval 1 day) as series (day)
left join zipchat.escalation_metrics
    on partition_date = day::date and chat_id = $chat_id and dimension = 'all'
order by day
