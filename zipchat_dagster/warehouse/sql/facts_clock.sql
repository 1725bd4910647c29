-- grain: one row per moment that facts of the batch count business time from or to
-- seconds: how much business time passed before it, since `business_hours` begin; no row without those.
create or replace temp table clock as
with moments as (
    select unnest([escalated_at, first_response_at, resolved_at, ended_at, waited_until]) as at from spans
    union
    select unnest([asked_at, answered_at]) from turns where answered_by = 'human' or escalated_at is not null
    union
    select $now::timestamptz
)
select
    moments.at,
    coalesce(
        hours.seconds_before + epoch(least(moments.at, hours.closes_at)) - epoch(hours.opens_at), 0
    ) as seconds
from moments
asof left join business_hours as hours on hours.opens_at <= moments.at
where moments.at is not null and exists (from business_hours)
