-- grain: one row: the first and last day from $first to $last that have metrics; NULL if none has
select min(partition_date) as first, max(partition_date) as last
from zipchat.escalation_metrics
where chat_id = $chat_id and dimension = 'all' and partition_date between $first::date and $last::date
