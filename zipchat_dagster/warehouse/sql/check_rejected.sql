-- grain: one row per record of $kind that could not be stored for want of an id, at most $most
select
    strftime(observed_at, '%Y-%m-%dT%H:%M:%SZ') as offender, -- it has no id: when it was first seen
    count(*) over () as offenders
from zipchat.rejected_records
where kind = $kind
order by observed_at
limit $most
