-- grain: one row per day whose stored metrics differ from `computed`, or that was asked for
with stored as (
    select * exclude (computed_at) from zipchat.escalation_metrics where chat_id = $chat_id
),
compared as (
    select * from computed where partition_date in (select partition_date from stored)
),
differing as (
    select partition_date from (select * from stored except select * from compared)
    union
    select partition_date from (select * from compared except select * from stored)
)
select strftime(partition_date, '%Y-%m-%d') as day
from (
    select partition_date from differing
    union
    select partition_date from computed where partition_date between $first::date and $last::date
)
order by day
