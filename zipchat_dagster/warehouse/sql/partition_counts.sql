-- grain: one row per day with rows in $table
select strftime(partition_date, '%Y-%m-%d') as day, count(*) as rows
from query_table($table)
where chat_id = $chat_id and partition_date between $first::date and $last::date
group by day
