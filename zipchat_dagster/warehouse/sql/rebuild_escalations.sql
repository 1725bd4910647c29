-- grain: one row per conversation and escalation that the history ever showed
-- The API keeps only the last escalation and the last resolution of a conversation; the history of
-- what was seen keeps them all. A resolution belongs to the newest escalation at or before it.
insert into zipchat.escalations (
    chat_id, conversation_id, escalated_at, partition_date, resolved_at, channel, assignee_id,
    first_response_at, first_responder_id, superseded_at, is_open
)
with escalated as (
    select
        chat_id,
        conversation_id,
        last_escalated_at as escalated_at,
        -- arg_max() and arg_min() pass over observations without an assignee. One who takes the
        -- conversation over long after the resolution is not this escalation's agent.
        coalesce(
            arg_max(assignee_id, observed_at) filter (coalesce(last_escalation_resolved_at < last_escalated_at, true)),
            arg_min(assignee_id, observed_at) filter (last_escalation_resolved_at >= last_escalated_at)
        ) as assignee_id,
        lead(last_escalated_at) over (
            partition by chat_id, conversation_id order by last_escalated_at
        ) as next_escalated_at
    from zipchat.conversation_history
    where last_escalated_at is not null
    group by chat_id, conversation_id, last_escalated_at
),
resolutions as (
    select distinct chat_id, conversation_id, last_escalation_resolved_at as resolved_at
    from zipchat.conversation_history
    where last_escalation_resolved_at is not null
),
resolved as (
    select
        escalated.*,
        (
            select min(resolutions.resolved_at)
            from resolutions
            where resolutions.chat_id = escalated.chat_id
                and resolutions.conversation_id = escalated.conversation_id
                and resolutions.resolved_at >= escalated.escalated_at
                and (
                    escalated.next_escalated_at is null
                    or resolutions.resolved_at < escalated.next_escalated_at
                )
        ) as resolved_at
    from escalated
),
-- The customer of an unresolved escalation still waits when the next one comes, so an answer after
-- that one ends both waits; a resolved one is over by then.
answered as (
    select
        resolved.chat_id,
        resolved.conversation_id,
        resolved.escalated_at,
        min(message.created_at) as first_response_at,
        -- not arg_min(), which would name the second responder where the first has no id
        arg_min_null(message.sender_id, (message.created_at, message.message_id)) as first_responder_id
    from resolved
    inner join zipchat.raw_messages as message
        on message.chat_id = resolved.chat_id
        and message.conversation_id = resolved.conversation_id
        and message.manual_reply
        and message.created_at >= resolved.escalated_at
        and (
            resolved.resolved_at is null
            or resolved.next_escalated_at is null
            or message.created_at < resolved.next_escalated_at
        )
    group by resolved.chat_id, resolved.conversation_id, resolved.escalated_at
)
select
    resolved.chat_id,
    resolved.conversation_id,
    resolved.escalated_at,
    cast(timezone($timezone, resolved.escalated_at) as date),
    resolved.resolved_at,
    conversation.channel,
    resolved.assignee_id,
    answered.first_response_at,
    answered.first_responder_id,
    case when resolved.resolved_at is null then resolved.next_escalated_at end,
    resolved.resolved_at is null
    and resolved.next_escalated_at is null
    and conversation.missing_since is null
from resolved
left join zipchat.raw_conversations as conversation
    on conversation.chat_id = resolved.chat_id and conversation.conversation_id = resolved.conversation_id
left join answered
    on answered.chat_id = resolved.chat_id
    and answered.conversation_id = resolved.conversation_id
    and answered.escalated_at = resolved.escalated_at
