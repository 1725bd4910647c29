-- A small database written by version 3, with invented data.
create schema zipchat;
create table zipchat.chats (
    chat_id bigint,
    name varchar,
    is_current boolean,
    since timestamptz
);
create table zipchat.raw_conversations (
    chat_id bigint,
    conversation_id bigint,
    partition_date date,
    created_at timestamptz,
    last_message_at timestamptz,
    channel varchar,
    manual_reply_mode boolean,
    last_escalated_at timestamptz,
    last_escalation_resolved_at timestamptz,
    assignee_id bigint,
    assignee_name varchar,
    lead_id bigint,
    lead_full_name varchar,
    lead_email varchar,
    lead_phone_number varchar,
    lead_email_marketing_consent boolean,
    share_url varchar,
    missing_since timestamptz,
    payload json,
    show_payload json,
    shown_at timestamptz,
    observed_at timestamptz
);
create table zipchat.conversation_history (
    chat_id bigint,
    conversation_id bigint,
    channel varchar,
    manual_reply_mode boolean,
    last_escalated_at timestamptz,
    last_escalation_resolved_at timestamptz,
    assignee_id bigint,
    assignee_name varchar,
    missing_since timestamptz,
    observed_at timestamptz
);
create table zipchat.raw_messages (
    chat_id bigint,
    message_id bigint,
    partition_date date,
    conversation_id bigint,
    role varchar,
    message varchar,
    message_text varchar,
    manual_reply boolean,
    status varchar,
    sender_id bigint,
    created_at timestamptz,
    payload json,
    observed_at timestamptz,
    redacted_at timestamptz
);
create table zipchat.users (
    chat_id bigint,
    user_id bigint,
    full_name varchar,
    email varchar,
    avatar_url varchar,
    role varchar,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    is_current boolean,
    payload json,
    observed_at timestamptz
);
create table zipchat.leads (
    chat_id bigint,
    lead_id bigint,
    full_name varchar,
    first_name varchar,
    last_name varchar,
    email varchar,
    phone_number varchar,
    email_marketing_consent boolean,
    shopify_customer_id varchar,
    additional_attributes json,
    conversations bigint,
    first_contact_at timestamptz,
    last_contact_at timestamptz
);
create table zipchat.escalations (
    chat_id bigint,
    conversation_id bigint,
    escalated_at timestamptz,
    partition_date date,
    resolved_at timestamptz,
    channel varchar,
    assignee_id bigint,
    first_response_at timestamptz,
    first_responder_id bigint,
    superseded_at timestamptz,
    ended_at timestamptz,
    is_open boolean,
    turns_before bigint,
    seconds_to_escalation double,
    first_response_seconds double,
    first_response_business_seconds double,
    resolution_seconds double,
    resolution_business_seconds double,
    replies bigint,
    agents bigint,
    reassignments bigint,
    customer_wait_seconds double,
    is_one_touch boolean,
    is_abandoned boolean,
    computed_at timestamptz
);
create table zipchat.customer_turns (
    chat_id bigint,
    conversation_id bigint,
    turn bigint,
    partition_date date,
    channel varchar,
    asked_at timestamptz,
    customer_messages bigint,
    answered_at timestamptz,
    answered_by varchar,
    sender_id bigint,
    answer_seconds double,
    answer_business_seconds double,
    escalated_at timestamptz,
    computed_at timestamptz
);
create table zipchat.sla_events (
    chat_id bigint,
    conversation_id bigint,
    escalated_at timestamptz,
    metric varchar,
    turn bigint,
    partition_date date,
    channel varchar,
    agent_id bigint,
    starts_at timestamptz,
    ended_at timestamptz,
    is_kept boolean,
    target_seconds double,
    breach_at timestamptz,
    elapsed_seconds double,
    is_active boolean,
    is_breached boolean,
    business_breach_at timestamptz,
    elapsed_business_seconds double,
    is_business_breached boolean,
    computed_at timestamptz
);
create table zipchat.conversation_facts (
    chat_id bigint,
    conversation_id bigint,
    partition_date date,
    created_at timestamptz,
    channel varchar,
    lead_id bigint,
    is_first_of_lead boolean,
    is_complete boolean,
    customer_messages bigint,
    ai_messages bigint,
    human_messages bigint,
    agents bigint,
    customer_turns bigint,
    turns_answered_by_ai bigint,
    turns_answered_by_human bigint,
    turns_unanswered bigint,
    first_customer_message_at timestamptz,
    last_customer_message_at timestamptz,
    first_ai_answer_seconds double,
    first_human_answer_at timestamptz,
    last_message_at timestamptz,
    last_author varchar,
    escalations bigint,
    first_escalated_at timestamptz,
    last_escalated_at timestamptz,
    last_resolved_at timestamptz,
    is_open boolean,
    reopened_at timestamptz,
    reopened_after_seconds double,
    is_ai_involved boolean,
    is_automation_pending boolean,
    is_automated boolean,
    repeat_contact_at timestamptz,
    computed_at timestamptz
);
create table zipchat.escalation_metrics (
    partition_date date,
    chat_id bigint,
    dimension varchar,
    dimension_value varchar,
    conversations_started bigint,
    conversations_active bigint,
    escalated_conversations bigint,
    escalations bigint,
    reescalations bigint,
    resolved bigint,
    still_open bigint,
    unanswered bigint,
    escalation_rate double,
    containment_rate double,
    resolution_rate double,
    first_response_seconds_p50 double,
    first_response_seconds_p90 double,
    first_response_seconds_p95 double,
    first_response_business_seconds_p50 double,
    first_response_business_seconds_p90 double,
    first_response_business_seconds_p95 double,
    answered_within_target_rate double,
    pending_within_target bigint,
    resolution_seconds_p50 double,
    resolution_seconds_p90 double,
    resolution_seconds_mean double,
    resolution_business_seconds_p50 double,
    resolution_business_seconds_p90 double,
    next_response_seconds_p50 double,
    next_response_seconds_p90 double,
    responses_under_1h bigint,
    responses_1h_to_4h bigint,
    responses_4h_to_8h bigint,
    responses_8h_to_24h bigint,
    responses_over_24h bigint,
    one_touch bigint,
    abandoned bigint,
    backlog_at_day_end bigint,
    backlog_age_seconds_p50 double,
    backlog_age_seconds_max double,
    customer_messages bigint,
    ai_messages bigint,
    human_messages bigint,
    computed_at timestamptz
);
create table zipchat.activity_by_hour (
    chat_id bigint,
    partition_date date,
    hour_start timestamptz,
    weekday bigint,
    hour bigint,
    dimension varchar,
    dimension_value varchar,
    conversations_started bigint,
    customer_messages bigint,
    ai_messages bigint,
    human_messages bigint,
    active_agents bigint,
    escalations bigint,
    resolved bigint,
    open_at_end bigint,
    computed_at timestamptz
);
create table zipchat.changed_conversations (
    chat_id bigint,
    conversation_id bigint,
    observed_at timestamptz
);
create table zipchat.stale_days (
    chat_id bigint,
    partition_date date
);
create table zipchat.listing_coverage (
    chat_id bigint,
    since timestamptz,
    as_of timestamptz,
    stated_total bigint,
    listed_total bigint
);
create table zipchat.message_coverage (
    chat_id bigint,
    conversation_id bigint,
    covered_from timestamptz,
    covered_through timestamptz,
    stated_messages bigint,
    observed_at timestamptz,
    failed_at timestamptz,
    failure varchar
);
create table zipchat.rejected_records (
    chat_id bigint,
    kind varchar,
    payload json,
    observed_at timestamptz,
    conversation_id bigint
);
create table zipchat.warehouse_settings (
    name varchar,
    value varchar
);
create table zipchat.write_back_attempts (
    chat_id bigint,
    conversation_id bigint,
    text_hash varchar,
    run_id varchar,
    root_run_id varchar,
    newest_message_id bigint,
    attempted_at timestamptz,
    outcome varchar,
    message_id bigint
);
create table zipchat.erasures (
    chat_id bigint,
    erasure_id varchar,
    subject_hash varchar,
    begun_at timestamptz,
    finished_at timestamptz,
    deleted json,
    verification varchar
);
create table zipchat.suppressions (
    chat_id bigint,
    value_hash varchar,
    kind varchar,
    erasure_id varchar,
    since timestamptz,
    hits bigint,
    last_hit_at timestamptz
);
create macro zipchat.zone() as (
    select value from zipchat.warehouse_settings where name = 'timezone'
);
create macro zipchat.day_starts_at(day) as (
    timezone(zipchat.zone(), day::timestamp)
    - if(
        cast(timezone(zipchat.zone(), timezone(zipchat.zone(), day::timestamp) - interval 1 hour) as date) = day::date,
        interval 1 hour,
        interval 0 hour
    )
);
create view zipchat.message_completeness as
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
create macro zipchat.metrics_by(grain) as table
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
create view zipchat.metrics_weekly as
from zipchat.metrics_by('week');
create view zipchat.metrics_monthly as
from zipchat.metrics_by('month');
create view zipchat.metrics_by_hour_of_week as
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
create view zipchat.escalations_waiting as
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
qualify row_number() over (
    partition by escalation.chat_id, escalation.conversation_id, escalation.escalated_at
    order by promise.metric, promise.starts_at
) = 1
order by promise.starts_at;
create macro zipchat.ai_metrics_by(grain) as table
with conversations as (
    select
        fact.*,
        exists (
            from zipchat.escalations as escalation
            where escalation.chat_id = fact.chat_id
                and escalation.conversation_id = fact.conversation_id
                and escalation.is_abandoned
        ) as is_abandoned,
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
create view zipchat.ai_metrics as
from zipchat.ai_metrics_by('day');
create view zipchat.metric_rates as
from (
    values
        ('escalation_rate', 'escalated_conversations', 'conversations_active'),
        ('containment_rate', 'contained', 'conversations_active'),
        ('resolution_rate', 'resolved', 'escalations'),
        ('answered_within_target_rate', 'answered_within_target', 'due')
) as rates (rate, numerator, denominator);
create view zipchat.metric_records as
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
insert into zipchat.raw_conversations values
    (1, 22550, '2026-03-04', '2026-03-04 00:00:00+00:00', '2026-03-04 02:35:07+00:00', 'web', true, '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', 400, 'Dmitri Agent', 7001, 'Inès Placeholder', null, null, false, 'https://share.example.com/c/aa994d36', null, '{"id": 22550, "chat_id": 1, "created_at": "2026-03-04T00:00:00Z", "last_message_at": "2026-03-04T02:35:07Z", "channel": "web", "manual_reply_mode": true, "last_escalated_at": "2026-03-04T01:33:56Z", "last_escalation_resolved_at": "2026-03-04T04:14:17Z", "share_url": "https://share.example.com/c/aa994d36", "lead": {"id": 7001, "full_name": "Inès Placeholder", "email": null, "phone_number": null, "email_marketing_consent": false}, "assignee": {"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org"}}', '{"id": 22550, "chat_id": 1, "created_at": "2026-03-04T00:00:00Z", "last_message_at": "2026-03-04T02:35:07Z", "channel": "web", "manual_reply_mode": true, "last_escalated_at": "2026-03-04T01:33:56Z", "last_escalation_resolved_at": "2026-03-04T04:14:17Z", "share_url": "https://share.example.com/c/aa994d36", "lead": {"id": 7001, "full_name": "Inès Placeholder", "email": null, "phone_number": null, "email_marketing_consent": false, "first_name": "Inès", "last_name": "Placeholder", "shopify_customer_id": 6200000000001, "additional_attributes": {}}, "assignee": {"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org"}}', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00'),
    (1, 22553, '2026-03-04', '2026-03-04 07:09:01+00:00', '2026-03-04 17:56:01+00:00', 'web', false, null, null, null, null, null, null, null, null, null, 'https://share.example.com/c/853fba49', null, '{"id": 22553, "chat_id": 1, "created_at": "2026-03-04T07:09:01Z", "last_message_at": "2026-03-04T17:56:01Z", "channel": "web", "manual_reply_mode": false, "last_escalated_at": null, "last_escalation_resolved_at": null, "share_url": "https://share.example.com/c/853fba49", "lead": null, "assignee": null}', '{"id": 22553, "chat_id": 1, "created_at": "2026-03-04T07:09:01Z", "last_message_at": "2026-03-04T17:56:01Z", "channel": "web", "manual_reply_mode": false, "last_escalated_at": null, "last_escalation_resolved_at": null, "share_url": "https://share.example.com/c/853fba49", "lead": null, "assignee": null}', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00');
insert into zipchat.conversation_history values
    (1, 22550, 'web', true, '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', 400, 'Dmitri Agent', null, '2026-03-04 18:00:00+00:00'),
    (1, 22553, 'web', false, null, null, null, null, null, '2026-03-04 18:00:00+00:00');
insert into zipchat.raw_messages values
    (1, 661706, '2026-03-04', 22550, 'user', 'Which size fits 182 cm?
I usually wear L.', 'Which size fits 182 cm?
I usually wear L.', false, 'delivered', null, '2026-03-04 00:00:00+00:00', '{"id": 661706, "role": "user", "message": "Which size fits 182 cm?\nI usually wear L.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T00:00:00Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661707, '2026-03-04', 22550, 'user', 'I would like to talk to a person.', 'I would like to talk to a person.', false, 'delivered', null, '2026-03-04 00:01:58+00:00', '{"id": 661707, "role": "user", "message": "I would like to talk to a person.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T00:01:58Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661708, '2026-03-04', 22550, 'assistant', '<p>I have passed this on to a colleague, who will answer you here.</p>', 'I have passed this on to a colleague, who will answer you here.', false, 'sent', null, '2026-03-04 00:02:02+00:00', '{"id": 661708, "role": "assistant", "message": "<p>I have passed this on to a colleague, who will answer you here.</p>", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T00:02:02Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661709, '2026-03-04', 22550, 'user', 'I would like to talk to a person.', 'I would like to talk to a person.', false, 'delivered', null, '2026-03-04 01:33:53+00:00', '{"id": 661709, "role": "user", "message": "I would like to talk to a person.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T01:33:53Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661710, '2026-03-04', 22550, 'assistant', '<p>I have passed this on to a colleague, who will answer you here.</p>', 'I have passed this on to a colleague, who will answer you here.', false, 'delivered', null, '2026-03-04 01:33:58+00:00', '{"id": 661710, "role": "assistant", "message": "<p>I have passed this on to a colleague, who will answer you here.</p>", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T01:33:58Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661711, '2026-03-04', 22550, 'assistant', '<p>I have refunded the second charge, it takes 3 working days.</p>', 'I have refunded the second charge, it takes 3 working days.', true, 'read', 400, '2026-03-04 01:34:45+00:00', '{"id": 661711, "role": "assistant", "message": "<p>I have refunded the second charge, it takes 3 working days.</p>", "manual_reply": true, "status": "read", "sender_id": 400, "created_at": "2026-03-04T01:34:45Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661714, '2026-03-04', 22550, 'user', 'Yes, please', 'Yes, please', false, 'sent', null, '2026-03-04 01:40:27+00:00', '{"id": 661714, "role": "user", "message": "Yes, please", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T01:40:27Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661715, '2026-03-04', 22550, 'assistant', 'Could you send a photo of the label, please?', 'Could you send a photo of the label, please?', true, 'delivered', 400, '2026-03-04 01:43:25+00:00', '{"id": 661715, "role": "assistant", "message": "Could you send a photo of the label, please?", "manual_reply": true, "status": "delivered", "sender_id": 400, "created_at": "2026-03-04T01:43:25Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661716, '2026-03-04', 22550, 'user', '<p>Hello,</p><p>I was charged twice for the same order.</p>', 'Hello,
I was charged twice for the same order.', false, 'sent', null, '2026-03-04 01:55:01+00:00', '{"id": 661716, "role": "user", "message": "<p>Hello,</p><p>I was charged twice for the same order.</p>", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T01:55:01Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661717, '2026-03-04', 22550, 'assistant', '<p>I have refunded the second charge, it takes 3 working days.</p>', 'I have refunded the second charge, it takes 3 working days.', true, 'read', 400, '2026-03-04 02:05:03+00:00', '{"id": 661717, "role": "assistant", "message": "<p>I have refunded the second charge, it takes 3 working days.</p>", "manual_reply": true, "status": "read", "sender_id": 400, "created_at": "2026-03-04T02:05:03Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661718, '2026-03-04', 22550, 'user', 'thanks!', 'thanks!', false, 'read', null, '2026-03-04 02:17:37+00:00', '{"id": 661718, "role": "user", "message": "thanks!", "manual_reply": false, "status": "read", "sender_id": null, "created_at": "2026-03-04T02:17:37Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661719, '2026-03-04', 22550, 'assistant', 'Could you send a photo of the label, please?', 'Could you send a photo of the label, please?', true, 'delivered', 400, '2026-03-04 02:35:07+00:00', '{"id": 661719, "role": "assistant", "message": "Could you send a photo of the label, please?", "manual_reply": true, "status": "delivered", "sender_id": 400, "created_at": "2026-03-04T02:35:07Z"}', '2026-03-04 18:00:00+00:00', null),
    (1, 661720, '2026-03-04', 22553, 'user', 'Which size fits 182 cm?
I usually wear L.', 'Which size fits 182 cm?
I usually wear L.', false, 'read', null, '2026-03-04 17:56:01+00:00', '{"id": 661720, "role": "user", "message": "Which size fits 182 cm?\nI usually wear L.", "manual_reply": false, "status": "read", "sender_id": null, "created_at": "2026-03-04T17:56:01Z"}', '2026-03-04 18:00:00+00:00', null);
insert into zipchat.users values
    (1, 370, 'Chloé Agent', 'agent1@example.org', 'https://files.example.com/avatars/370.png', 'owner', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 370, "full_name": "Chloé Agent", "email": "agent1@example.org", "avatar_url": "https://files.example.com/avatars/370.png", "role": "owner"}', '2026-03-04 18:00:00+00:00'),
    (1, 400, 'Dmitri Agent', 'agent2@example.org', null, 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org", "avatar_url": null, "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 434, 'Hiro Agent', 'agent3@example.org', 'https://files.example.com/avatars/434.png', 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 434, "full_name": "Hiro Agent", "email": "agent3@example.org", "avatar_url": "https://files.example.com/avatars/434.png", "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 448, 'Elif Agent', 'agent4@example.org', null, 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 448, "full_name": "Elif Agent", "email": "agent4@example.org", "avatar_url": null, "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 459, 'Bo Agent', 'agent5@example.org', 'https://files.example.com/avatars/459.png', 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 459, "full_name": "Bo Agent", "email": "agent5@example.org", "avatar_url": "https://files.example.com/avatars/459.png", "role": "participant"}', '2026-03-04 18:00:00+00:00');
insert into zipchat.leads values
    (1, 7001, 'Inès Placeholder', 'Inès', 'Placeholder', null, null, false, '6200000000001', '{}', 1, '2026-03-04 00:00:00+00:00', '2026-03-04 02:35:07+00:00');
insert into zipchat.escalations values
    (1, 22550, '2026-03-04 01:33:56+00:00', '2026-03-04', '2026-03-04 04:14:17+00:00', 'web', 400, '2026-03-04 01:34:45+00:00', 400, null, '2026-03-04 04:14:17+00:00', false, 2, 5636.0, 49.0, null, 9621.0, null, 4, 1, 0, 1879.0, false, false, '2026-03-04 18:00:00+00:00');
insert into zipchat.customer_turns values
    (1, 22550, 1, '2026-03-04', 'web', '2026-03-04 00:00:00+00:00', 2, '2026-03-04 00:02:02+00:00', 'ai', null, 122.0, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, 2, '2026-03-04', 'web', '2026-03-04 01:33:53+00:00', 1, '2026-03-04 01:34:45+00:00', 'human', 400, 52.0, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, 3, '2026-03-04', 'web', '2026-03-04 01:40:27+00:00', 1, '2026-03-04 01:43:25+00:00', 'human', 400, 178.0, null, '2026-03-04 01:33:56+00:00', '2026-03-04 18:00:00+00:00'),
    (1, 22550, 4, '2026-03-04', 'web', '2026-03-04 01:55:01+00:00', 1, '2026-03-04 02:05:03+00:00', 'human', 400, 602.0, null, '2026-03-04 01:33:56+00:00', '2026-03-04 18:00:00+00:00'),
    (1, 22550, 5, '2026-03-04', 'web', '2026-03-04 02:17:37+00:00', 1, '2026-03-04 02:35:07+00:00', 'human', 400, 1050.0, null, '2026-03-04 01:33:56+00:00', '2026-03-04 18:00:00+00:00'),
    (1, 22553, 1, '2026-03-04', 'web', '2026-03-04 17:56:01+00:00', 1, null, null, null, null, null, null, '2026-03-04 18:00:00+00:00');
insert into zipchat.sla_events values
    (1, 22550, '2026-03-04 01:33:56+00:00', 'first_response', null, '2026-03-04', 'web', 400, '2026-03-04 01:33:56+00:00', '2026-03-04 01:34:45+00:00', true, null, null, 49.0, false, null, null, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, '2026-03-04 01:33:56+00:00', 'next_response', 3, '2026-03-04', 'web', 400, '2026-03-04 01:40:27+00:00', '2026-03-04 01:43:25+00:00', true, null, null, 178.0, false, null, null, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, '2026-03-04 01:33:56+00:00', 'next_response', 4, '2026-03-04', 'web', 400, '2026-03-04 01:55:01+00:00', '2026-03-04 02:05:03+00:00', true, null, null, 602.0, false, null, null, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, '2026-03-04 01:33:56+00:00', 'next_response', 5, '2026-03-04', 'web', 400, '2026-03-04 02:17:37+00:00', '2026-03-04 02:35:07+00:00', true, null, null, 1050.0, false, null, null, null, null, '2026-03-04 18:00:00+00:00'),
    (1, 22550, '2026-03-04 01:33:56+00:00', 'resolution', null, '2026-03-04', 'web', 400, '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', true, null, null, 9621.0, false, null, null, null, null, '2026-03-04 18:00:00+00:00');
insert into zipchat.conversation_facts values
    (1, 22550, '2026-03-04', '2026-03-04 00:00:00+00:00', 'web', 7001, true, true, 6, 2, 4, 1, 5, 1, 4, 0, '2026-03-04 00:00:00+00:00', '2026-03-04 02:17:37+00:00', 122.0, '2026-03-04 01:34:45+00:00', '2026-03-04 02:35:07+00:00', 'human', 1, '2026-03-04 01:33:56+00:00', '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', false, null, null, true, false, false, null, '2026-03-04 18:00:00+00:00'),
    (1, 22553, '2026-03-04', '2026-03-04 07:09:01+00:00', 'web', null, null, true, 1, 0, 0, 0, 1, 0, 0, 1, '2026-03-04 17:56:01+00:00', '2026-03-04 17:56:01+00:00', null, null, '2026-03-04 17:56:01+00:00', 'customer', 0, null, null, null, false, null, null, false, false, false, null, '2026-03-04 18:00:00+00:00');
insert into zipchat.escalation_metrics values
    ('2026-03-03', 1, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, 0, 0, 0, 0, 0, 0, 0, 0, null, null, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'agent', '400', null, null, 1, 1, 0, 1, 0, 0, null, null, 1.0, 49.0, 49.0, 49.0, null, null, null, null, null, 9621.0, 9621.0, 9621.0, null, null, 602.0, 960.4, 1, 0, 0, 0, 0, 0, 0, 0, null, null, null, null, 4, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'all', 'all', 2, 2, 1, 1, 0, 1, 0, 0, 0.5, 0.5, 1.0, 49.0, 49.0, 49.0, null, null, null, null, null, 9621.0, 9621.0, 9621.0, null, null, 602.0, 960.4, 1, 0, 0, 0, 0, 0, 0, 0, null, null, 7, 2, 4, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'channel', 'web', 2, 2, 1, 1, 0, 1, 0, 0, 0.5, 0.5, 1.0, 49.0, 49.0, 49.0, null, null, null, null, null, 9621.0, 9621.0, 9621.0, null, null, 602.0, 960.4, 1, 0, 0, 0, 0, 0, 0, 0, null, null, 7, 2, 4, '2026-03-04 18:00:00+00:00');
insert into zipchat.activity_by_hour values
    (1, '2026-03-03', '2026-03-03 00:00:00+00:00', 2, 0, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 01:00:00+00:00', 2, 1, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 02:00:00+00:00', 2, 2, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 03:00:00+00:00', 2, 3, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 04:00:00+00:00', 2, 4, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 05:00:00+00:00', 2, 5, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 06:00:00+00:00', 2, 6, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 07:00:00+00:00', 2, 7, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 08:00:00+00:00', 2, 8, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 09:00:00+00:00', 2, 9, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 10:00:00+00:00', 2, 10, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 11:00:00+00:00', 2, 11, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 12:00:00+00:00', 2, 12, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 13:00:00+00:00', 2, 13, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 14:00:00+00:00', 2, 14, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 15:00:00+00:00', 2, 15, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 16:00:00+00:00', 2, 16, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 17:00:00+00:00', 2, 17, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 18:00:00+00:00', 2, 18, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 19:00:00+00:00', 2, 19, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 20:00:00+00:00', 2, 20, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 21:00:00+00:00', 2, 21, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 22:00:00+00:00', 2, 22, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-03', '2026-03-03 23:00:00+00:00', 2, 23, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 00:00:00+00:00', 3, 0, 'all', 'all', 1, 2, 1, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 00:00:00+00:00', 3, 0, 'channel', 'web', 1, 2, 1, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 01:00:00+00:00', 3, 1, 'all', 'all', 0, 3, 1, 2, 1, 1, 0, 1, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 01:00:00+00:00', 3, 1, 'channel', 'web', 0, 3, 1, 2, 1, 1, 0, 1, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 02:00:00+00:00', 3, 2, 'all', 'all', 0, 1, 0, 2, 1, 0, 0, 1, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 02:00:00+00:00', 3, 2, 'channel', 'web', 0, 1, 0, 2, 1, 0, 0, 1, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 03:00:00+00:00', 3, 3, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 1, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 04:00:00+00:00', 3, 4, 'all', 'all', 0, 0, 0, 0, 0, 0, 1, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 04:00:00+00:00', 3, 4, 'channel', 'web', 0, 0, 0, 0, 0, 0, 1, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 05:00:00+00:00', 3, 5, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 06:00:00+00:00', 3, 6, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 07:00:00+00:00', 3, 7, 'all', 'all', 1, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 07:00:00+00:00', 3, 7, 'channel', 'web', 1, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 08:00:00+00:00', 3, 8, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 09:00:00+00:00', 3, 9, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 10:00:00+00:00', 3, 10, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 11:00:00+00:00', 3, 11, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 12:00:00+00:00', 3, 12, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 13:00:00+00:00', 3, 13, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 14:00:00+00:00', 3, 14, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 15:00:00+00:00', 3, 15, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 16:00:00+00:00', 3, 16, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 17:00:00+00:00', 3, 17, 'all', 'all', 0, 1, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 17:00:00+00:00', 3, 17, 'channel', 'web', 0, 1, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    (1, '2026-03-04', '2026-03-04 18:00:00+00:00', 3, 18, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, '2026-03-04 18:00:00+00:00');
insert into zipchat.stale_days values
    (1, '2026-03-04');
insert into zipchat.listing_coverage values
    (1, '2026-03-02 18:00:00+00:00', '2026-03-04 18:00:00+00:00', null, 2);
insert into zipchat.message_coverage values
    (1, 22550, '1970-01-01 00:00:00+00:00', '2026-03-04 02:35:07+00:00', null, '2026-03-04 18:00:00+00:00', null, null),
    (1, 22553, '1970-01-01 00:00:00+00:00', '2026-03-04 17:56:01+00:00', null, '2026-03-04 18:00:00+00:00', null, null);
insert into zipchat.warehouse_settings values
    ('facts of chat 1', '3 UTC Rules(business_hours=None, response_target_seconds=None, next_response_target_seconds=None, resolution_target_seconds=None, quiet_hours=72)'),
    ('metrics of chat 1', '3 UTC Rules(business_hours=None, response_target_seconds=None, next_response_target_seconds=None, resolution_target_seconds=None, quiet_hours=72)'),
    ('schema_version', '3'),
    ('timezone', 'UTC');
