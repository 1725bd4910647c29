-- grain: one row: the first and last day for which metrics are stored or asked for
select
    least(min(partition_date), $first::date) as first_day,
    greatest(max(partition_date), $last::date) as last_day
from zipchat.escalation_metrics
where chat_id = $chat_id
