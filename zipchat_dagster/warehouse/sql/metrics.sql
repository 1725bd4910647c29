-- grain: one row per day in [$first, $last], dimension (all, channel, agent) and its value
-- What each column means stands in schema.sql. A rate without a denominator is NULL, and so is what
-- has no meaning for an agent: an agent starts no conversations and is written no messages.
create or replace temp table computed as
with days as (
    select
        day,
        midnight as starts_at,
        lead(midnight) over (order by day) as ends_at
    from (
        select
            day::date as day,
            timezone($timezone, day) as later,
            -- where clocks go back over midnight (the Azores), the first of the two begins the day
            case when cast(timezone($timezone, later - interval 1 hour) as date) = day::date
                then later - interval 1 hour
                else later
            end as midnight
        from generate_series($first::timestamp, $last::timestamp + interval 1 day, interval 1 day) as series (day)
    )
    qualify ends_at is not null
),
started as (
    select partition_date as day, coalesce(channel, 'unknown') as channel
    from zipchat.raw_conversations
    where chat_id = $chat_id and partition_date between $first::date and $last::date
),
written as (
    select
        message.partition_date as day,
        message.conversation_id,
        coalesce(conversation.channel, 'unknown') as channel,
        message.manual_reply is true as is_human,
        message.role = 'user' as is_customer,
        message.role = 'assistant' and message.manual_reply is not true as is_ai,
        message.sender_id
    from zipchat.raw_messages as message
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = message.chat_id and conversation.conversation_id = message.conversation_id
    where message.chat_id = $chat_id and message.partition_date between $first::date and $last::date
),
ended as (
    select
        escalation.*,
        coalesce(escalation.channel, 'unknown') as known_channel,
        -- a hand-back unassigns, so the assignee is not always seen: then it is who answered first
        coalesce(escalation.assignee_id, escalation.first_responder_id)::varchar as known_agent,
        coalesce(known_agent, 'unassigned') as agent,
        -- least() passes over NULLs: the first of what ended it, NULL while it is open
        least(escalation.resolved_at, escalation.superseded_at, conversation.missing_since) as ended_at,
        row_number() over (
            partition by escalation.conversation_id order by escalation.escalated_at
        ) > 1 as is_reescalation
    from zipchat.escalations as escalation
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = escalation.chat_id
        and conversation.conversation_id = escalation.conversation_id
    where escalation.chat_id = $chat_id
),
-- Seconds of business hours between escalation and first response; NULL without business hours.
in_business as (
    select
        ended.conversation_id,
        ended.escalated_at,
        sum(greatest(0, epoch(
            least(ended.first_response_at, hours.closes_at) - greatest(ended.escalated_at, hours.opens_at)
        ))) as seconds
    from ended
    inner join business_hours as hours
        on hours.opens_at < ended.first_response_at and hours.closes_at > ended.escalated_at
    where ended.partition_date between $first::date and $last::date
    group by ended.conversation_id, ended.escalated_at
),
escalated as (
    select
        ended.partition_date as day,
        ended.conversation_id,
        ended.known_channel as channel,
        ended.agent,
        ended.is_reescalation,
        ended.is_open,
        ended.resolved_at is not null as is_resolved,
        ended.first_response_at is null as is_unanswered,
        epoch(ended.first_response_at - ended.escalated_at) as response_seconds,
        case
            when $has_business_hours and ended.first_response_at is not null then coalesce(in_business.seconds, 0)
        end as response_business_seconds,
        epoch(ended.resolved_at - ended.escalated_at) as resolution_seconds
    from ended
    left join in_business
        on in_business.conversation_id = ended.conversation_id and in_business.escalated_at = ended.escalated_at
    where ended.partition_date between $first::date and $last::date
),
waiting as (
    select
        days.day,
        ended.known_channel as channel,
        ended.agent,
        epoch(least(days.ends_at, $now) - ended.escalated_at) as age_seconds
    from days
    inner join ended
        on ended.escalated_at < days.ends_at
        and ended.escalated_at <= $now
        and (ended.ended_at is null or ended.ended_at >= days.ends_at or ended.ended_at > $now)
    where days.starts_at <= $now
),
active as (
    select
        written.day,
        written.conversation_id,
        any_value(written.channel) as channel,
        not bool_or(written.is_human) and not bool_or(escalated.conversation_id is not null) as is_contained
    from written
    left join (select distinct day, conversation_id from escalated) as escalated
        on escalated.day = written.day and escalated.conversation_id = written.conversation_id
    group by written.day, written.conversation_id
),
started_by as (
    select day, dimension, dimension_value, count(*) as conversations_started
    from started, lateral (values ('all', 'all'), ('channel', channel)) as slice (dimension, dimension_value)
    group by all
),
active_by as (
    select
        day, dimension, dimension_value,
        count(*) as conversations_active,
        count(*) filter (is_contained) as contained
    from active, lateral (values ('all', 'all'), ('channel', channel)) as slice (dimension, dimension_value)
    group by all
),
written_by as (
    select
        day, dimension, dimension_value,
        count(*) filter (is_customer) as customer_messages,
        count(*) filter (is_ai) as ai_messages,
        count(*) filter (is_human) as human_messages
    from written, lateral (values ('all', 'all'), ('channel', channel)) as slice (dimension, dimension_value)
    group by all
    union all
    select day, 'agent', coalesce(sender_id::varchar, 'unassigned'), null, null, count(*)
    from written
    where is_human
    group by all
),
escalated_by as (
    select
        day, dimension, dimension_value,
        count(distinct conversation_id) as escalated_conversations,
        count(*) as escalations,
        count(*) filter (is_reescalation) as reescalations,
        count(*) filter (is_resolved) as resolved,
        count(*) filter (is_open) as still_open,
        count(*) filter (is_unanswered) as unanswered,
        quantile_cont(response_seconds, 0.5) as first_response_seconds_p50,
        quantile_cont(response_seconds, 0.9) as first_response_seconds_p90,
        quantile_cont(response_seconds, 0.95) as first_response_seconds_p95,
        quantile_cont(response_business_seconds, 0.5) as first_response_business_seconds_p50,
        quantile_cont(response_business_seconds, 0.9) as first_response_business_seconds_p90,
        quantile_cont(response_business_seconds, 0.95) as first_response_business_seconds_p95,
        case
            when $target_seconds::double is not null
            then count(*) filter (response_seconds <= $target_seconds::double) / count(*)
        end as answered_within_target_rate,
        quantile_cont(resolution_seconds, 0.5) as resolution_seconds_p50,
        quantile_cont(resolution_seconds, 0.9) as resolution_seconds_p90,
        avg(resolution_seconds) as resolution_seconds_mean
    from escalated,
        lateral (values ('all', 'all'), ('channel', channel), ('agent', agent)) as slice (dimension, dimension_value)
    group by all
),
waiting_by as (
    select
        day, dimension, dimension_value,
        count(*) as backlog_at_day_end,
        quantile_cont(age_seconds, 0.5) as backlog_age_seconds_p50,
        max(age_seconds) as backlog_age_seconds_max
    from waiting,
        lateral (values ('all', 'all'), ('channel', channel), ('agent', agent)) as slice (dimension, dimension_value)
    group by all
),
slices as (
    select day, 'all' as dimension, 'all' as dimension_value from days
    union
    select day, dimension, dimension_value from started_by
    union
    select day, dimension, dimension_value from active_by
    union
    select day, dimension, dimension_value from written_by
    union
    select day, dimension, dimension_value from escalated_by
    union
    select day, dimension, dimension_value from waiting_by
)
select
    slices.day as partition_date,
    $chat_id::bigint as chat_id,
    slices.dimension,
    slices.dimension_value,
    case when slices.dimension <> 'agent' then coalesce(conversations_started, 0) end as conversations_started,
    case when slices.dimension <> 'agent' then coalesce(conversations_active, 0) end as conversations_active,
    coalesce(escalated_conversations, 0) as escalated_conversations,
    coalesce(escalations, 0) as escalations,
    coalesce(reescalations, 0) as reescalations,
    coalesce(resolved, 0) as resolved,
    coalesce(still_open, 0) as still_open,
    coalesce(unanswered, 0) as unanswered,
    coalesce(escalated_conversations, 0) / nullif(conversations_active, 0) as escalation_rate,
    contained / nullif(conversations_active, 0) as containment_rate,
    resolved / nullif(escalations, 0) as resolution_rate,
    first_response_seconds_p50,
    first_response_seconds_p90,
    first_response_seconds_p95,
    first_response_business_seconds_p50,
    first_response_business_seconds_p90,
    first_response_business_seconds_p95,
    answered_within_target_rate,
    resolution_seconds_p50,
    resolution_seconds_p90,
    resolution_seconds_mean,
    coalesce(backlog_at_day_end, 0) as backlog_at_day_end,
    backlog_age_seconds_p50,
    backlog_age_seconds_max,
    case when slices.dimension <> 'agent' then coalesce(customer_messages, 0) end as customer_messages,
    case when slices.dimension <> 'agent' then coalesce(ai_messages, 0) end as ai_messages,
    coalesce(human_messages, 0) as human_messages
from slices
left join started_by using (day, dimension, dimension_value)
left join active_by using (day, dimension, dimension_value)
left join written_by using (day, dimension, dimension_value)
left join escalated_by using (day, dimension, dimension_value)
left join waiting_by using (day, dimension, dimension_value)
