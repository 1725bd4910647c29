-- grain: one row per row of `computed` on the days of `restated`
insert into zipchat.escalation_metrics by name
select *, $now::timestamptz as computed_at
from computed
where partition_date in (select day from restated)
