-- grain: all rows of the days that are stored anew in the same transaction
delete from zipchat.escalation_metrics
where chat_id = $chat_id and strftime(partition_date, '%Y-%m-%d') in (select day from restated)
