-- grain: one row: the newest day up to $today of which a chat of `listed` has metrics; NULL if there is none
select max(partition_date) as last
from zipchat.escalation_metrics
semi join listed using (chat_id)
where dimension = 'all' and partition_date <= $today::date
