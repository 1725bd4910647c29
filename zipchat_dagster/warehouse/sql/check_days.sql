-- grain: one row per record of $table whose partition is not its day in $timezone, at most $most
with moments as (
    select conversation_id as id, partition_date, created_at as moment
    from zipchat.raw_conversations where $table = 'raw_conversations' and chat_id = $chat_id
    union all
    select message_id, partition_date, created_at
    from zipchat.raw_messages where $table = 'raw_messages' and chat_id = $chat_id
    union all
    select conversation_id, partition_date, escalated_at
    from zipchat.escalations where $table = 'escalations' and chat_id = $chat_id
)
select
    id as offender,
    coalesce(strftime(partition_date, '%Y-%m-%d'), 'none') as partition,
    coalesce(strftime(cast(timezone($timezone, moment) as date), '%Y-%m-%d'), 'unknown') as day,
    count(*) over () as offenders
from moments
where partition_date is null or partition_date is distinct from cast(timezone($timezone, moment) as date)
order by id
limit $most
