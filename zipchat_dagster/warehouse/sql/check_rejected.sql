-- grain: one row per record of $kind that could not be stored because it has no usable id, at most $most
select
    strftime(observed_at, '%Y-%m-%dT%H:%M:%SZ') as offender, -- in place of an id, when it was first seen
    count(*) over () as offenders
from zipchat.rejected_records
where chat_id = $chat_id and kind = $kind
order by observed_at
limit $most
