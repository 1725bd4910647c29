-- grain: one row per day, all conversations
select
    strftime(partition_date, '%a %Y-%m-%d') as day,
    conversations_started as started,
    conversations_active as active,
    escalations,
    escalation_rate as "escalation rate",
    containment_rate as contained,
    first_response_seconds_p50 as "first response",
    resolution_seconds_p50 as resolution,
    still_open as "still open",
    backlog_at_day_end as backlog
from zipchat.escalation_metrics
where chat_id = $chat_id and dimension = 'all'
order by partition_date
