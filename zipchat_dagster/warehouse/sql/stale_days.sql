-- grain: one row per day of this chat whose metrics have to be computed again
select distinct strftime(partition_date, '%Y-%m-%d') as day
from zipchat.stale_days
where chat_id = $chat_id
order by day
