-- grain: one row per row of `computed` on the days that are stored anew
insert into zipchat.escalation_metrics by name
select computed.*, $now::timestamptz as computed_at
from computed
where strftime(partition_date, '%Y-%m-%d') in (select day from restated)
