-- grain: one row per day of `days` that was asked for, or whose stored rows differ from those computed
create or replace temp table restated as
with stored as (
    select * exclude (computed_at)
    from zipchat.escalation_metrics
    where chat_id = $chat_id and partition_date in (select day from days)
),
stored_hours as (
    select * exclude (computed_at)
    from zipchat.activity_by_hour
    where chat_id = $chat_id and partition_date in (select day from days)
),
differing as (
    select partition_date from (from stored except from computed)
    union
    select partition_date from (from computed except from stored)
    union
    select partition_date from (from stored_hours except from computed_hours)
    union
    select partition_date from (from computed_hours except from stored_hours)
)
select chat_id, day, $now::timestamptz as computed_at
from days
where day in (select partition_date from differing)
    or strftime(day, '%Y-%m-%d') in (select day from asked)
