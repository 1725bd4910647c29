-- grain: one row per day with rows
select strftime(partition_date, '%Y-%m-%d') as day, count(*) as rows
from zipchat.{table}
where partition_date between $first::date and $last::date
group by day
