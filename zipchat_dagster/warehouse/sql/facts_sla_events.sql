-- grain: one row per first response, next response and resolution of the escalations of `spans`
-- A target is missed once more than its seconds have passed.
create or replace temp table new_sla_events as
with promised as (
    select
        chat_id, conversation_id, escalated_at, channel, assignee_id,
        'first_response' as metric,
        null::bigint as turn,
        first_responder_id as responder_id,
        escalated_at as starts_at,
        coalesce(first_response_at, waited_until) as ended_at,
        first_response_at is not null as is_kept,
        $response_target_seconds::double as target_seconds
    from spans
    union all
    select
        turns.chat_id, turns.conversation_id, turns.escalated_at, spans.channel, spans.assignee_id,
        'next_response',
        turns.turn,
        case when turns.is_replied then turns.sender_id end,
        turns.asked_at,
        case when turns.is_replied then turns.answered_at else spans.ended_at end,
        turns.is_replied,
        $next_response_target_seconds::double
    from turns
    -- what was asked before the first response is answered by it
    inner join spans
        on spans.chat_id = turns.chat_id
        and spans.conversation_id = turns.conversation_id
        and spans.escalated_at = turns.escalated_at
        and (turns.asked_at, turns.first_message_id) > (spans.first_response_at, spans.first_response_id)
    union all
    select
        chat_id, conversation_id, escalated_at, channel, assignee_id,
        'resolution',
        null,
        null,
        escalated_at,
        ended_at,
        resolved_at is not null,
        $resolution_target_seconds::double
    from spans
),
timed as (
    select
        *,
        coalesce(ended_at, greatest($now::timestamptz, starts_at)) as until,
        epoch(until) - epoch(starts_at) as elapsed_seconds
    from promised
),
counted as (
    select
        timed.*,
        ends.seconds - starts.seconds as elapsed_business_seconds,
        starts.seconds + timed.target_seconds as due_seconds
    from timed
    left join clock as starts on starts.at = timed.starts_at
    left join clock as ends on ends.at = timed.until
)
select
    counted.chat_id,
    counted.conversation_id,
    counted.escalated_at,
    counted.metric,
    counted.turn,
    cast(timezone($timezone, counted.starts_at) as date) as partition_date,
    counted.channel,
    coalesce(counted.responder_id, counted.assignee_id) as agent_id,
    counted.starts_at,
    counted.ended_at,
    counted.is_kept,
    counted.target_seconds,
    counted.starts_at + to_microseconds((counted.target_seconds * 1e6)::bigint) as breach_at,
    counted.elapsed_seconds,
    counted.ended_at is null as is_active,
    counted.elapsed_seconds > counted.target_seconds as is_breached,
    case
        when counted.due_seconds - hours.seconds_before <= epoch(hours.closes_at) - epoch(hours.opens_at)
            then hours.opens_at + to_microseconds(((counted.due_seconds - hours.seconds_before) * 1e6)::bigint)
    end as business_breach_at,
    counted.elapsed_business_seconds,
    counted.elapsed_business_seconds > counted.target_seconds as is_business_breached,
    $now::timestamptz as computed_at
from counted
asof left join business_hours as hours on hours.seconds_before < counted.due_seconds
