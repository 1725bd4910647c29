-- The views and macros. The comment above each gives its grain and purpose, which tables.py lists in
-- docs/tables.md. Those with numbers compute them from the facts, so their percentiles are exact at any grain. A view
-- that changes must be dropped in a migration: see migrations.py. To use a macro of an attached
-- database, make that the current one first (`use`).

-- grain: the IANA name of the zone whose days the tables have
-- Used by the other views.
create macro if not exists zipchat.zone() as (
    select value from zipchat.warehouse_settings where name = 'timezone'
);

-- grain: the first moment of a day in that zone
-- Where clocks go back over midnight (the Azores), the first of the two midnights.
create macro if not exists zipchat.day_starts_at(day) as (
    timezone(zipchat.zone(), day::timestamp)
    - if(
        cast(timezone(zipchat.zone(), timezone(zipchat.zone(), day::timestamp) - interval 1 hour) as date) = day::date,
        interval 1 hour,
        interval 0 hour
    )
);

-- grain: one row per conversation: from when on all its messages are stored
-- complete_from is NULL while the newest message is not stored. This view is the one place for what
-- "covered" means.
create view if not exists zipchat.message_completeness as
select
    conversation.chat_id,
    conversation.conversation_id,
    conversation.created_at,
    conversation.last_message_at,
    conversation.missing_since,
    coverage.covered_from,
    coverage.covered_through,
    coverage.failed_at,
    case
        when coalesce(coverage.covered_through >= conversation.last_message_at, coverage.covered_through is not null)
            then coverage.covered_from
    end as complete_from
from zipchat.raw_conversations as conversation
left join zipchat.message_coverage as coverage
    on coverage.chat_id = conversation.chat_id and coverage.conversation_id = conversation.conversation_id;

-- grain: one row per chat, period, channel (or all) and agent (or all)
-- Escalations by the period in which they happened, as in escalation_metrics; next responses by when the
-- customer asked. `grain` is day, week, month, quarter or year.
create macro if not exists zipchat.metrics_by(grain) as table
with counted as (
    select
        escalation.chat_id,
        escalation.partition_date,
        coalesce(escalation.channel, 'unknown') as channel,
        coalesce(coalesce(escalation.assignee_id, escalation.first_responder_id)::varchar, 'unassigned') as agent,
        'escalation' as metric,
        escalation.first_response_at is not null as is_answered,
        escalation.is_open,
        escalation.resolved_at is not null as is_resolved,
        escalation.is_one_touch,
        escalation.is_abandoned,
        escalation.first_response_seconds,
        escalation.first_response_business_seconds,
        escalation.resolution_seconds,
        escalation.resolution_business_seconds
    from zipchat.escalations as escalation
    union all by name
    -- a promise counts for the agent of its escalation, a next response for who gave it
    select
        promise.chat_id,
        promise.partition_date,
        coalesce(promise.channel, 'unknown') as channel,
        coalesce(
            if(
                promise.metric = 'next_response',
                promise.agent_id,
                coalesce(escalation.assignee_id, escalation.first_responder_id)
            )::varchar,
            'unassigned'
        ) as agent,
        promise.metric,
        promise.is_kept,
        promise.is_breached is not null and (promise.is_breached or not promise.is_active) as is_due,
        promise.is_kept and not promise.is_breached as is_in_time,
        if(promise.metric = 'next_response' and promise.is_kept, promise.elapsed_seconds, null) as next_response_seconds
    from zipchat.sla_events as promise
    inner join zipchat.escalations as escalation
        on escalation.chat_id = promise.chat_id
        and escalation.conversation_id = promise.conversation_id
        and escalation.escalated_at = promise.escalated_at
)
select
    chat_id,
    date_trunc(grain, partition_date)::date as period_start,
    if(grouping(channel) = 1, 'all', channel) as channel,
    if(grouping(agent) = 1, 'all', agent) as agent,
    count(*) filter (metric = 'escalation') as escalations,
    count(*) filter (is_answered) as answered,
    count(*) filter (not is_answered) as unanswered,
    count(*) filter (is_open) as still_open,
    count(*) filter (is_resolved) as resolved,
    count(*) filter (is_one_touch) as one_touch,
    count(*) filter (is_abandoned) as abandoned,
    quantile_cont(first_response_seconds, 0.5) as first_response_seconds_p50,
    quantile_cont(first_response_seconds, 0.9) as first_response_seconds_p90,
    quantile_cont(first_response_seconds, 0.95) as first_response_seconds_p95,
    quantile_cont(first_response_business_seconds, 0.5) as first_response_business_seconds_p50,
    quantile_cont(first_response_business_seconds, 0.9) as first_response_business_seconds_p90,
    quantile_cont(first_response_business_seconds, 0.95) as first_response_business_seconds_p95,
    count(*) filter (metric = 'next_response' and is_kept) as next_responses,
    quantile_cont(next_response_seconds, 0.5) as next_response_seconds_p50,
    quantile_cont(next_response_seconds, 0.9) as next_response_seconds_p90,
    quantile_cont(resolution_seconds, 0.5) as resolution_seconds_p50,
    quantile_cont(resolution_seconds, 0.9) as resolution_seconds_p90,
    quantile_cont(resolution_business_seconds, 0.5) as resolution_business_seconds_p50,
    quantile_cont(resolution_business_seconds, 0.9) as resolution_business_seconds_p90,
    count(*) filter (metric = 'first_response' and is_due) as first_responses_due,
    count(*) filter (metric = 'first_response' and is_in_time) as first_responses_within_target,
    count(*) filter (metric = 'next_response' and is_due) as next_responses_due,
    count(*) filter (metric = 'next_response' and is_in_time) as next_responses_within_target,
    count(*) filter (metric = 'resolution' and is_due) as resolutions_due,
    count(*) filter (metric = 'resolution' and is_in_time) as resolutions_within_target
from counted
group by grouping sets (
    (chat_id, period_start),
    (chat_id, period_start, channel),
    (chat_id, period_start, agent),
    (chat_id, period_start, channel, agent)
);

-- grain: one row per chat, week (from Monday), channel (or all) and agent (or all)
-- `metrics_by('week')`, so percentiles are those of the whole week.
create view if not exists zipchat.metrics_weekly as
from zipchat.metrics_by('week');

-- grain: one row per chat, month, channel (or all) and agent (or all)
-- `metrics_by('month')`, so percentiles are those of the whole month.
create view if not exists zipchat.metrics_monthly as
from zipchat.metrics_by('month');

-- grain: one row per chat, weekday (1 is Monday), local hour and channel (or all)
-- For staffing: totals, and averages over all times that this hour of the week has occurred. Hours that
-- were not over when they were computed are left out.
create view if not exists zipchat.metrics_by_hour_of_week as
with activity as (
    select
        chat_id,
        weekday,
        hour,
        dimension_value as channel,
        count(*) as hours,
        sum(conversations_started) as conversations_started,
        sum(customer_messages) as customer_messages,
        sum(human_messages) as human_messages,
        sum(escalations) as escalations,
        sum(active_agents) as active_agents
    from zipchat.activity_by_hour
    where computed_at >= hour_start + interval 1 hour
    group by chat_id, weekday, hour, dimension, dimension_value
),
answered as (
    select
        chat_id,
        isodow(timezone(zipchat.zone(), escalated_at)) as weekday,
        hour(timezone(zipchat.zone(), escalated_at)) as hour,
        if(grouping(channel) = 1, 'all', coalesce(channel, 'unknown')) as channel,
        quantile_cont(first_response_seconds, 0.5) as first_response_seconds_p50
    from zipchat.escalations
    group by grouping sets ((1, 2, 3), (1, 2, 3, channel))
)
select
    activity.chat_id,
    activity.weekday,
    activity.hour,
    activity.channel,
    occurred.hours as occurrences,
    activity.conversations_started::bigint as conversations_started,
    activity.customer_messages::bigint as customer_messages,
    activity.human_messages::bigint as human_messages,
    activity.escalations::bigint as escalations,
    activity.conversations_started / occurred.hours as conversations_started_mean,
    activity.customer_messages / occurred.hours as customer_messages_mean,
    activity.human_messages / occurred.hours as human_messages_mean,
    activity.escalations / occurred.hours as escalations_mean,
    activity.active_agents / occurred.hours as active_agents_mean,
    answered.first_response_seconds_p50
from activity
-- a channel has no row for an hour in which nothing happened
inner join activity as occurred
    on occurred.chat_id = activity.chat_id
    and occurred.weekday = activity.weekday
    and occurred.hour = activity.hour
    and occurred.channel = 'all'
left join answered
    on answered.chat_id = activity.chat_id
    and answered.weekday = activity.weekday
    and answered.hour = activity.hour
    and answered.channel = activity.channel;

-- grain: one row per escalation that is open now, the longest wait first
-- The work list: what the customer waits for, since when, and the link to the conversation in Zipchat. Waits
-- last until the query; which escalations are open is as of the last run.
create view if not exists zipchat.escalations_waiting as
select
    escalation.chat_id,
    escalation.conversation_id,
    escalation.channel,
    coalesce(escalation.assignee_id, escalation.first_responder_id) as agent_id,
    escalation.escalated_at,
    promise.metric as waiting_for,
    promise.starts_at as waiting_since,
    epoch(now()) - epoch(promise.starts_at) as seconds_waiting,
    promise.target_seconds,
    promise.breach_at,
    now() > promise.breach_at as is_breached,
    promise.business_breach_at,
    now() > promise.business_breach_at as is_business_breached,
    conversation.share_url
from zipchat.escalations as escalation
inner join zipchat.sla_events as promise
    on promise.chat_id = escalation.chat_id
    and promise.conversation_id = escalation.conversation_id
    and promise.escalated_at = escalation.escalated_at
    and promise.is_active
left join zipchat.raw_conversations as conversation
    on conversation.chat_id = escalation.chat_id and conversation.conversation_id = escalation.conversation_id
where escalation.is_open
-- in the order of the alphabet: first_response, next_response, resolution
qualify row_number() over (
    partition by escalation.chat_id, escalation.conversation_id, escalation.escalated_at
    order by promise.metric, promise.starts_at
) = 1
order by promise.starts_at;

-- grain: one row per chat, period and channel (or all)
-- What the AI does alone, by the period in which the conversation began. `grain` is day, week, month,
-- quarter or year.
create macro if not exists zipchat.ai_metrics_by(grain) as table
with conversations as (
    select
        fact.*,
        exists (
            from zipchat.escalations as escalation
            where escalation.chat_id = fact.chat_id
                and escalation.conversation_id = fact.conversation_id
                and escalation.is_abandoned
        ) as is_abandoned,
        -- a repeat contact is known up to the newest listing
        fact.is_automated
        and fact.lead_id is not null
        and fact.last_message_at + interval 7 day <= listing.as_of as is_repeat_known
    from zipchat.conversation_facts as fact
    left join (
        select chat_id, max(as_of) as as_of from zipchat.listing_coverage group by chat_id
    ) as listing
        on listing.chat_id = fact.chat_id
),
counted as (
    select
        chat_id,
        partition_date,
        coalesce(channel, 'unknown') as channel,
        true as is_conversation,
        is_complete,
        is_ai_involved,
        is_automated,
        is_automation_pending,
        repeat_contact_at is not null as is_repeated,
        is_repeat_known,
        escalations > 0 as is_escalated,
        last_resolved_at is not null as is_resolved,
        reopened_at is not null as is_reopened,
        is_abandoned,
        is_first_of_lead,
        lead_id
    from conversations
    union all by name
    select
        fact.chat_id,
        fact.partition_date,
        coalesce(fact.channel, 'unknown') as channel,
        turn.answer_seconds as ai_answer_seconds
    from zipchat.customer_turns as turn
    inner join zipchat.conversation_facts as fact
        on fact.chat_id = turn.chat_id and fact.conversation_id = turn.conversation_id
    where turn.answered_by = 'ai'
),
summed as (
    select
        chat_id,
        date_trunc(grain, partition_date)::date as period_start,
        if(grouping(channel) = 1, 'all', channel) as channel,
        count(*) filter (is_conversation) as conversations_started,
        count(*) filter (not is_complete) as incomplete,
        count(*) filter (is_ai_involved) as ai_involved,
        quantile_cont(ai_answer_seconds, 0.5) as ai_answer_seconds_p50,
        quantile_cont(ai_answer_seconds, 0.9) as ai_answer_seconds_p90,
        count(*) filter (is_automated) as automated,
        count(*) filter (is_automation_pending) as automation_pending,
        count(*) filter (is_repeated) as repeat_contacts,
        count(*) filter (is_repeat_known) as repeat_contacts_known,
        count(*) filter (is_repeat_known and is_repeated) as repeated_of_known,
        count(*) filter (is_escalated) as escalated,
        count(*) filter (is_resolved) as resolved,
        count(*) filter (is_reopened) as reopened,
        count(*) filter (is_abandoned) as abandoned,
        count(*) filter (is_first_of_lead) as new_leads,
        count(distinct lead_id) filter (not is_first_of_lead) as returning_leads
    from counted
    group by grouping sets ((chat_id, period_start), (chat_id, period_start, channel))
)
select
    * exclude (repeated_of_known),
    ai_involved / nullif(conversations_started, 0) as ai_involvement_rate,
    automated / nullif(conversations_started - automation_pending, 0) as automation_rate,
    repeated_of_known / nullif(repeat_contacts_known, 0) as repeat_contact_rate,
    reopened / nullif(resolved, 0) as reopened_rate
from summed;

-- grain: one row per chat, day and channel (or all)
-- `ai_metrics_by('day')`, by the day on which the conversation began.
create view if not exists zipchat.ai_metrics as
from zipchat.ai_metrics_by('day');

-- grain: one row per rate of escalation_metrics
-- The two metrics in metric_records that it divides.
create view if not exists zipchat.metric_rates as
from (
    values
        ('escalation_rate', 'escalated_conversations', 'conversations_active'),
        ('containment_rate', 'contained', 'conversations_active'),
        ('resolution_rate', 'resolved', 'escalations'),
        ('answered_within_target_rate', 'answered_within_target', 'due')
) as rates (rate, numerator, denominator);

-- grain: one row per chat, day, dimension (all, channel, agent), its value, metric and record that it counts
-- The conversations behind each number of escalation_metrics: `metric` is its column, or one that metric_rates
-- names. A count is the number of its records, a percentile or mean that of their `seconds`. Filter by
-- metric, and nothing else is read.
create view if not exists zipchat.metric_records as
with slices as (
    from (values ('all'), ('channel'), ('agent')) as slices (dimension)
),
started as not materialized (
    select
        chat_id,
        partition_date,
        dimension,
        if(dimension = 'all', 'all', coalesce(channel, 'unknown')) as dimension_value,
        conversation_id,
        created_at as happened_at
    from zipchat.raw_conversations, slices
    where dimension <> 'agent'
),
written as not materialized (
    select
        message.chat_id,
        message.partition_date,
        dimension,
        case dimension
            when 'all' then 'all'
            when 'channel' then coalesce(conversation.channel, 'unknown')
            else coalesce(message.sender_id::varchar, 'unassigned')
        end as dimension_value,
        message.conversation_id,
        message.created_at as happened_at,
        message.role = 'user' as is_customer,
        message.role = 'assistant' and message.manual_reply is not true as is_ai,
        message.manual_reply is true as is_human
    from zipchat.raw_messages as message
    cross join slices
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = message.chat_id and conversation.conversation_id = message.conversation_id
    where dimension <> 'agent' or message.manual_reply
),
escalated as not materialized (
    select
        escalation.* exclude (channel, escalated_at),
        dimension,
        case dimension
            when 'all' then 'all'
            when 'channel' then coalesce(channel, 'unknown')
            else coalesce(coalesce(assignee_id, first_responder_id)::varchar, 'unassigned')
        end as dimension_value,
        escalated_at as happened_at
    from zipchat.escalations as escalation
    cross join slices
),
responded as not materialized (
    select *, first_response_seconds as seconds from escalated where seconds is not null
),
responded_in_business as not materialized (
    select *, first_response_business_seconds as seconds from escalated where seconds is not null
),
resolved as not materialized (
    select *, resolution_seconds as seconds from escalated where seconds is not null
),
resolved_in_business as not materialized (
    select *, resolution_business_seconds as seconds from escalated where seconds is not null
),
active as not materialized (
    select
        chat_id,
        partition_date,
        dimension,
        dimension_value,
        conversation_id,
        min(happened_at) as happened_at,
        not bool_or(is_human) as is_contained
    from (
        select chat_id, partition_date, dimension, dimension_value, conversation_id, happened_at, is_human
        from written
        union all
        select chat_id, partition_date, dimension, dimension_value, conversation_id, happened_at, true
        from escalated
    )
    where dimension <> 'agent'
    group by chat_id, partition_date, dimension, dimension_value, conversation_id
),
days as not materialized (
    select chat_id, partition_date, computed_at, zipchat.day_starts_at(partition_date + 1) as ends_at
    from zipchat.escalation_metrics
    where dimension = 'all'
),
-- Whether a response was due when the day was computed.
promised as not materialized (
    select
        escalated.*,
        escalated.first_response_seconds <= promise.target_seconds as is_in_time,
        escalated.first_response_at is not null
        or not escalated.is_open
        or epoch(days.computed_at) - epoch(escalated.happened_at) >= promise.target_seconds as is_due
    from escalated
    inner join zipchat.sla_events as promise
        on promise.chat_id = escalated.chat_id
        and promise.conversation_id = escalated.conversation_id
        and promise.escalated_at = escalated.happened_at
        and promise.metric = 'first_response'
        and promise.target_seconds is not null
    inner join days on days.chat_id = escalated.chat_id and days.partition_date = escalated.partition_date
),
-- What was open when the day ended, or when it was computed if that was before.
waiting as not materialized (
    select
        escalated.* exclude (partition_date),
        days.partition_date,
        epoch(least(days.ends_at, days.computed_at)) - epoch(escalated.happened_at) as seconds
    from days
    inner join escalated
        on escalated.chat_id = days.chat_id
        and escalated.happened_at < days.ends_at
        and escalated.happened_at <= days.computed_at
        and (
            escalated.ended_at is null
            or escalated.ended_at >= days.ends_at
            or escalated.ended_at > days.computed_at
        )
    where zipchat.day_starts_at(days.partition_date) <= days.computed_at
),
next_response as not materialized (
    select
        chat_id,
        partition_date,
        dimension,
        case dimension
            when 'all' then 'all'
            when 'channel' then coalesce(channel, 'unknown')
            else coalesce(agent_id::varchar, 'unassigned')
        end as dimension_value,
        conversation_id,
        starts_at as happened_at,
        elapsed_seconds as seconds
    from zipchat.sla_events
    cross join slices
    where metric = 'next_response' and is_kept
)
select chat_id, partition_date, dimension, dimension_value, metric, conversation_id, happened_at, seconds
from (
    select *, 'conversations_started' as metric, null::double as seconds from started
    union all by name select *, 'conversations_active' as metric from active
    union all by name select *, 'contained' as metric from active where is_contained
    union all by name
    select * exclude (happened_at), min(happened_at) as happened_at, 'escalated_conversations' as metric
    from (select chat_id, partition_date, dimension, dimension_value, conversation_id, happened_at from escalated)
    group by all
    union all by name select *, 'escalations' as metric from escalated
    union all by name
    select escalated.*, 'reescalations' as metric
    from escalated
    inner join zipchat.conversation_facts as fact
        on fact.chat_id = escalated.chat_id
        and fact.conversation_id = escalated.conversation_id
        and fact.first_escalated_at < escalated.happened_at
    union all by name select *, 'resolved' as metric from resolved
    union all by name select *, 'still_open' as metric from escalated where is_open
    union all by name select *, 'unanswered' as metric from escalated where first_response_at is null
    union all by name select *, 'due' as metric from promised where is_due
    union all by name select *, 'answered_within_target' as metric from promised where is_in_time
    union all by name select *, 'pending_within_target' as metric from promised where not is_due
    union all by name select *, 'one_touch' as metric from escalated where is_one_touch
    union all by name select *, 'abandoned' as metric from escalated where is_abandoned
    union all by name select *, 'responses_under_1h' as metric from responded where seconds < 3600
    union all by name select *, 'responses_1h_to_4h' as metric from responded where 3600 <= seconds and seconds < 14400
    union all by name select *, 'responses_4h_to_8h' as metric from responded where 14400 <= seconds and seconds < 28800
    union all by name select *, 'responses_8h_to_24h' as metric from responded where 28800 <= seconds and seconds < 86400
    union all by name select *, 'responses_over_24h' as metric from responded where 86400 <= seconds
    union all by name select *, 'first_response_seconds_p50' as metric from responded
    union all by name select *, 'first_response_seconds_p90' as metric from responded
    union all by name select *, 'first_response_seconds_p95' as metric from responded
    union all by name select *, 'first_response_business_seconds_p50' as metric from responded_in_business
    union all by name select *, 'first_response_business_seconds_p90' as metric from responded_in_business
    union all by name select *, 'first_response_business_seconds_p95' as metric from responded_in_business
    union all by name select *, 'resolution_seconds_p50' as metric from resolved
    union all by name select *, 'resolution_seconds_p90' as metric from resolved
    union all by name select *, 'resolution_seconds_mean' as metric from resolved
    union all by name select *, 'resolution_business_seconds_p50' as metric from resolved_in_business
    union all by name select *, 'resolution_business_seconds_p90' as metric from resolved_in_business
    union all by name select *, 'next_response_seconds_p50' as metric from next_response
    union all by name select *, 'next_response_seconds_p90' as metric from next_response
    union all by name select *, 'backlog_at_day_end' as metric from waiting
    union all by name select *, 'backlog_age_seconds_p50' as metric from waiting
    union all by name select *, 'backlog_age_seconds_max' as metric from waiting
    union all by name select *, 'customer_messages' as metric from written where is_customer and dimension <> 'agent'
    union all by name select *, 'ai_messages' as metric from written where is_ai and dimension <> 'agent'
    union all by name select *, 'human_messages' as metric from written where is_human
);
