-- grain: one row per day with metrics from $first to $last, all conversations
select
    strftime(partition_date, '%Y-%m-%d') as day,
    escalations,
    escalation_rate,
    first_response_seconds_p50,
    first_response_seconds_p90,
    backlog_at_day_end
from zipchat.escalation_metrics
where chat_id = $chat_id and dimension = 'all' and partition_date between $first::date and $last::date
