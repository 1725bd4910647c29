-- grain: one row per hour of `days` up to now, dimension (all, channel) and its value; see schema.sql
-- Hours are counted from the first moment of their day. So an hour that the clocks repeat is two rows,
-- one that they skip is none, and hours begin at local full hours in zones of half hours too.
insert into computed_hours by name
with known as (
    select
        coalesce(channel, 'unknown') as channel,
        escalated_at,
        resolved_at,
        greatest(coalesce(ended_at, 'infinity'), escalated_at) as ended_at
    from zipchat.escalations
    where chat_id = $chat_id
),
-- `opened` adds up to what is open: what was when the day began, what began since and what ended.
happened as (
    select day, happened_at, channel, is_customer, is_ai, is_human, sender_id from written
    union all by name
    select partition_date as day, created_at as happened_at, coalesce(channel, 'unknown') as channel, true as is_started
    from zipchat.raw_conversations
    where chat_id = $chat_id and partition_date in (select day from days)
    union all by name
    select day, starts_at as happened_at, channel, 1 as opened
    from days
    inner join known on escalated_at < starts_at and ended_at >= starts_at
    where starts_at <= $now
    union all by name
    select day, escalated_at as happened_at, channel, true as is_escalated, if(escalated_at <= $now, 1, 0) as opened
    from days
    inner join known on escalated_at >= starts_at and escalated_at < ends_at
    union all by name
    select day, ended_at as happened_at, channel, -1 as opened
    from days
    inner join known on ended_at >= starts_at and ended_at < ends_at and ended_at <= $now
    union all by name
    select day, resolved_at as happened_at, channel, true as is_resolved
    from days
    inner join known on resolved_at >= starts_at and resolved_at < ends_at
    union all by name
    select day, unnest(generate_series(starts_at, least(ends_at - interval 1 microsecond, $now), interval 1 hour)) as happened_at
    from days
),
counted as (
    select
        day,
        time_bucket(interval 1 hour, happened_at, starts_at) as hour_start,
        if(grouping(channel) = 1, 'all', 'channel') as dimension,
        if(grouping(channel) = 1, 'all', channel) as dimension_value,
        count(*) filter (is_started) as conversations_started,
        count(*) filter (is_customer) as customer_messages,
        count(*) filter (is_ai) as ai_messages,
        count(*) filter (is_human) as human_messages,
        count(distinct sender_id) filter (is_human) as active_agents,
        count(*) filter (is_escalated) as escalations,
        count(*) filter (is_resolved) as resolved,
        coalesce(sum(opened), 0) as opened
    from happened
    inner join days using (day)
    group by grouping sets ((day, hour_start), (day, hour_start, channel))
    having grouping(channel) = 1 or channel is not null
),
summed as (
    select *, sum(opened) over (partition by day, dimension, dimension_value order by hour_start) as open_at_end
    from counted
)
select
    $chat_id::bigint as chat_id,
    day as partition_date,
    hour_start,
    isodow(timezone($timezone, hour_start)) as weekday,
    hour(timezone($timezone, hour_start)) as hour,
    * exclude (day, hour_start, opened)
from summed
where dimension = 'all'
    or conversations_started + customer_messages + ai_messages + human_messages + escalations + resolved > 0
