-- grain: one row per key that {table} holds more than once, at most $most; `offenders` counts all
select
    concat_ws(' ', {key}) as offender,
    count(*) over () as offenders
from zipchat.{table}
where chat_id = $chat_id
group by {key}
having count(*) > 1
order by {key}
limit $most
