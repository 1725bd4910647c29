-- grain: one row per day of `wanted`, with its first moment and the next day's
create or replace temp table days as
select
    day,
    min(midnight) as starts_at,
    max(midnight) as ends_at
from (
    select
        wanted.day::date as day,
        wanted.day::date + edge.days as date,
        timezone($timezone, date::timestamp) as later,
        -- where clocks go back over midnight (the Azores), the first of the two begins the day
        case
            when cast(timezone($timezone, later - interval 1 hour) as date) = date then later - interval 1 hour
            else later
        end as midnight
    from wanted, (values (0), (1)) as edge (days)
)
group by day
