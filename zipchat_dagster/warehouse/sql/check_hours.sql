-- grain: one row per day and channel (or all) whose hours differ from the day's metrics, at most $most
-- A channel has no row for an hour in which nothing happened, so its backlog is not compared, and a day
-- on which nothing happened can have no hours.
with hours as (
    select
        partition_date,
        dimension_value,
        sum(conversations_started) as conversations_started,
        sum(customer_messages) as customer_messages,
        sum(ai_messages) as ai_messages,
        sum(human_messages) as human_messages,
        sum(escalations) as escalations,
        if(dimension = 'all', arg_max(open_at_end, hour_start), 0) as open_at_end
    from zipchat.activity_by_hour
    where chat_id = $chat_id
    group by partition_date, dimension, dimension_value
),
days as (
    select
        partition_date,
        dimension_value,
        conversations_started,
        customer_messages,
        ai_messages,
        human_messages,
        escalations,
        if(dimension = 'all', backlog_at_day_end, 0) as open_at_end
    from zipchat.escalation_metrics
    where chat_id = $chat_id and dimension in ('all', 'channel')
),
differing as (
    (from hours except from days) union all (from days except from hours)
)
select
    concat_ws(' ', strftime(partition_date, '%Y-%m-%d'), dimension_value) as offender,
    count(*) over () as offenders
from differing
where conversations_started + customer_messages + ai_messages + human_messages + escalations + open_at_end > 0
group by partition_date, dimension_value
order by offender
limit $most
