-- grain: one row per stored row of the days of `restated`, replaced by the new ones; what is computed is not stale
delete from zipchat.escalation_metrics as old using restated where old.chat_id = restated.chat_id and old.partition_date = restated.day;
delete from zipchat.activity_by_hour as old using restated where old.chat_id = restated.chat_id and old.partition_date = restated.day;
delete from zipchat.stale_days as old using days where old.chat_id = days.chat_id and old.partition_date = days.day;
insert into zipchat.escalation_metrics by name
select computed.*, computed_at from computed inner join restated on day = partition_date;
insert into zipchat.activity_by_hour by name
select computed_hours.*, computed_at from computed_hours inner join restated on day = partition_date;
