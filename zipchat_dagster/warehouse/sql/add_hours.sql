-- grain: one row per row of `computed_hours` on the days of `restated`
insert into zipchat.activity_by_hour by name
select *, $now::timestamptz as computed_at
from computed_hours
where partition_date in (select day from restated)
