-- grain: one row per day of `days`, which was just computed
delete from zipchat.stale_days
where chat_id = $chat_id and partition_date in (select day from days)
