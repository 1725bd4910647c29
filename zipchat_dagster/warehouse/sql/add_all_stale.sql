-- grain: one row per stored day of metrics of this chat, as if all of them had changed
insert into zipchat.stale_days (chat_id, partition_date)
select chat_id, partition_date from zipchat.escalation_metrics where chat_id = $chat_id and dimension = 'all'
except
select chat_id, partition_date from zipchat.stale_days
