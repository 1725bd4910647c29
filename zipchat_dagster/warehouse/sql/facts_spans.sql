-- grain: one row per escalation that the history of the conversations of `changed` shows
-- waited_until: when the customer's wait for a first response ended without one.
-- The API keeps only the last escalation and the last resolution of a conversation; the history of
-- what was seen keeps them all.
create or replace temp table spans as
with history as (
    select history.*
    from zipchat.conversation_history as history
    semi join changed using (chat_id, conversation_id)
),
escalated as (
    select
        chat_id,
        conversation_id,
        last_escalated_at as escalated_at,
        lead(last_escalated_at) over (
            partition by chat_id, conversation_id order by last_escalated_at
        ) as next_escalated_at
    from history
    where last_escalated_at is not null
    group by chat_id, conversation_id, last_escalated_at
),
resolutions as (
    select distinct chat_id, conversation_id, last_escalation_resolved_at as at
    from history
    where last_escalation_resolved_at is not null
),
-- Resolutions in the second of the escalation, and later ones before the next escalation.
followed as (
    select
        escalated.*,
        count(*) filter (resolutions.at = escalated.escalated_at) > 0 as is_resolved_at_once,
        min(resolutions.at) filter (resolutions.at > escalated.escalated_at) as resolved_later_at
    from escalated
    left join resolutions
        on resolutions.chat_id = escalated.chat_id
        and resolutions.conversation_id = escalated.conversation_id
        and resolutions.at >= escalated.escalated_at
        and (escalated.next_escalated_at is null or resolutions.at < escalated.next_escalated_at)
    group by all
),
-- A resolution in the second of an escalation belongs to the one before it if that one has no other:
-- it was resolved and escalated again within the second. So it depends on the escalation before, and
-- on the one before that if that was resolved at once too.
matched as (
    select
        *,
        is_resolved_at_once and coalesce(
            last_value(
                case when resolved_later_at is not null then false when not is_resolved_at_once then true end
                ignore nulls
            ) over (
                partition by chat_id, conversation_id order by escalated_at
                rows between unbounded preceding and 1 preceding
            ),
            false
        ) as is_resolution_of_earlier
    from followed
),
resolved as (
    select
        * exclude (is_resolved_at_once, resolved_later_at, is_resolution_of_earlier),
        case
            when is_resolved_at_once and not is_resolution_of_earlier then escalated_at
            when resolved_later_at is not null then resolved_later_at
            when lead(is_resolution_of_earlier) over (
                partition by chat_id, conversation_id order by escalated_at
            ) then next_escalated_at
        end as resolved_at
    from matched
),
closed as (
    select
        *,
        -- The customer of an unresolved escalation still waits when the next one comes, so both waits
        -- end with the resolution of that one.
        min(resolved_at) over (
            partition by chat_id, conversation_id order by escalated_at
            rows between current row and unbounded following
        ) as closed_at
    from resolved
),
answered as (
    select
        closed.chat_id,
        closed.conversation_id,
        closed.escalated_at,
        min(message.created_at) as first_response_at,
        -- not arg_min(), which would name the second responder where the first has no id
        arg_min_null(message.sender_id, (message.created_at, message.message_id)) as first_responder_id,
        arg_min(message.message_id, (message.created_at, message.message_id)) as first_response_id
    from closed
    inner join zipchat.raw_messages as message
        on message.chat_id = closed.chat_id
        and message.conversation_id = closed.conversation_id
        and message.manual_reply
        and message.created_at >= closed.escalated_at
        and (closed.closed_at is null or message.created_at <= closed.closed_at)
        -- in the second of the next escalation it answers that one
        and (
            closed.resolved_at is null
            or closed.next_escalated_at is null
            or message.created_at < closed.next_escalated_at
        )
    group by all
),
assigned as (
    select
        resolved.chat_id,
        resolved.conversation_id,
        resolved.escalated_at,
        -- arg_max() and arg_min() pass over observations without an assignee. An agent who takes the
        -- conversation over long after the resolution is not this escalation's agent.
        coalesce(
            arg_max(history.assignee_id, history.observed_at)
                filter (coalesce(history.last_escalation_resolved_at < resolved.resolved_at, true)),
            arg_min(history.assignee_id, history.observed_at)
                filter (history.last_escalation_resolved_at >= resolved.resolved_at)
        ) as assignee_id
    from resolved
    inner join history
        on history.chat_id = resolved.chat_id
        and history.conversation_id = resolved.conversation_id
        and history.last_escalated_at = resolved.escalated_at
    group by all
)
select
    closed.chat_id,
    closed.conversation_id,
    closed.escalated_at,
    cast(timezone($timezone, closed.escalated_at) as date) as partition_date,
    closed.resolved_at,
    conversation.channel,
    assigned.assignee_id,
    answered.first_response_at,
    answered.first_responder_id,
    answered.first_response_id,
    case when closed.resolved_at is null then closed.next_escalated_at end as superseded_at,
    -- least() passes over NULLs
    least(closed.resolved_at, superseded_at, conversation.missing_since) as ended_at,
    ended_at is null as is_open,
    least(closed.closed_at, conversation.missing_since) as waited_until
from closed
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
left join answered using (chat_id, conversation_id, escalated_at)
left join assigned using (chat_id, conversation_id, escalated_at)
