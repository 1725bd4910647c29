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
-- First by whole hours since the day began: there are far more messages than anything else.
written_by as (
    select
        day,
        (epoch_us(happened_at) - epoch_us(starts_at)) // 3_600_000_000 as hours,
        channel,
        case when is_human then sender_id end as agent_id,
        count(*) filter (is_customer) as customer_messages,
        count(*) filter (is_ai) as ai_messages,
        count(*) filter (is_human) as human_messages
    from written
    inner join days using (day)
    group by all
),
-- `opened` adds up to what is open: what was when the day began, what began since and what ended.
happened as (
    select day, starts_at as happened_at, channel, count(*) as opened
    from days
    inner join known on escalated_at < starts_at and ended_at >= starts_at
    where starts_at <= $now
    group by all
    union all by name
    select day, escalated_at as happened_at, channel, 1 as escalations, if(escalated_at <= $now, 1, 0) as opened
    from days
    inner join known on escalated_at >= starts_at and escalated_at < ends_at
    union all by name
    select day, ended_at as happened_at, channel, -1 as opened
    from days
    inner join known on ended_at >= starts_at and ended_at < ends_at and ended_at <= $now
    union all by name
    select day, resolved_at as happened_at, channel, 1 as resolved
    from days
    inner join known on resolved_at >= starts_at and resolved_at < ends_at
    union all by name
    select partition_date as day, created_at as happened_at, coalesce(channel, 'unknown') as channel, 1 as conversations_started
    from zipchat.raw_conversations
    where chat_id = $chat_id and partition_date in (select day from days)
    union all by name
    -- every hour, for `all`
    select day, unnest(generate_series(starts_at, least(ends_at - interval 1 microsecond, $now), interval 1 hour)) as happened_at
    from days
),
counted as (
    select
        day,
        hours,
        if(grouping(channel) = 1, 'all', 'channel') as dimension,
        if(grouping(channel) = 1, 'all', channel) as dimension_value,
        coalesce(sum(conversations_started), 0) as conversations_started,
        coalesce(sum(customer_messages), 0) as customer_messages,
        coalesce(sum(ai_messages), 0) as ai_messages,
        coalesce(sum(human_messages), 0) as human_messages,
        count(distinct agent_id) as active_agents,
        coalesce(sum(escalations), 0) as escalations,
        coalesce(sum(resolved), 0) as resolved,
        coalesce(sum(opened), 0) as opened
    from (
        from written_by
        union all by name
        select
            happened.* exclude (happened_at),
            (epoch_us(happened_at) - epoch_us(starts_at)) // 3_600_000_000 as hours
        from happened
        inner join days using (day)
    )
    group by grouping sets ((day, hours), (day, hours, channel))
    having grouping(channel) = 1 or channel is not null
),
summed as (
    select
        counted.* exclude (hours, opened),
        days.starts_at + to_hours(counted.hours) as hour_start,
        sum(opened) over (partition by day, dimension, dimension_value order by hours) as open_at_end
    from counted
    inner join days using (day)
)
select
    $chat_id::bigint as chat_id,
    day as partition_date,
    isodow(timezone($timezone, hour_start)) as weekday,
    hour(timezone($timezone, hour_start)) as hour,
    * exclude (day)
from summed
where dimension = 'all'
    or conversations_started + customer_messages + ai_messages + human_messages + escalations + resolved > 0
