-- grain: all hours of the days of `restated`, which are stored again in the same transaction
delete from zipchat.activity_by_hour
where chat_id = $chat_id and partition_date in (select day from restated)
