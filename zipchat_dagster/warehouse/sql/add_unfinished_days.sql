-- grain: one row per day of `days` that time alone will change: it is not over, or a response can still
-- be in time
insert into zipchat.stale_days (chat_id, partition_date)
select chat_id, day
from days
where ends_at > $now
    or day in (select partition_date from computed where pending_within_target > 0)
