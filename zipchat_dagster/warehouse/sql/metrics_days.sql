-- grain: one row per day of `wanted`, with its first moment and the next day's
create or replace temp table days as
select
    $chat_id::bigint as chat_id,
    day::date as day,
    zipchat.day_starts_at(wanted.day::date) as starts_at,
    zipchat.day_starts_at(wanted.day::date + 1) as ends_at
from wanted
