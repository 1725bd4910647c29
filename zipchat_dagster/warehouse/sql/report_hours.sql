-- grain: one row per day from $first to $last, hour of the local time and channel in which customers wrote
select
    partition_date::varchar as day,
    hour,
    dimension_value as channel,
    sum(customer_messages)::bigint as messages
from zipchat.activity_by_hour
where chat_id = $chat_id
    and dimension = 'channel'
    and partition_date between $first::date and $last::date
group by all
having messages > 0
order by all
