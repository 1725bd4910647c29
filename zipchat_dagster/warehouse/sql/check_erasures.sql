-- grain: one row per erasure that is not finished, or whose rows are deleted and still in the files, at most $most
with waiting as (
    select erasure_id as offender, begun_at as since, 'not verified' as problem
    from zipchat.erasures
    where chat_id = $chat_id and finished_at is null
    union all
    select 'the files', split_part(value, ' ', 1)::timestamptz, 'deleted rows are not removed from them yet'
    from zipchat.warehouse_settings
    where name = 'scrub_due'
)
select
    offender,
    strftime(since, '%Y-%m-%dT%H:%M:%SZ') as since,
    problem,
    count(*) over () as offenders
from waiting
where since < $now::timestamptz - interval 2 day
order by waiting.since, offender
limit $most
