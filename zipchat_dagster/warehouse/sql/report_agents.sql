-- grain: one row per agent with an escalation or a message from $first to $last, and one for none
-- As in escalation_metrics, a message counts for its sender and an escalation for its assignee. Without
-- an assignee, which the API forgets when a conversation goes back to the AI, the escalation counts for
-- the agent who answered first.
with handled as (
    select
        coalesce(assignee_id, first_responder_id) as agent_id,
        count(*) as escalations,
        count(resolved_at) as resolved,
        count(first_response_at) as answered,
        quantile_cont(epoch(first_response_at) - epoch(escalated_at), 0.5) as first_response_seconds_p50
    from zipchat.escalations
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and escalated_at <= $now
    group by all
),
written as (
    select sender_id as agent_id, count(*) as human_messages
    from zipchat.raw_messages
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and created_at <= $now
        and manual_reply
    group by sender_id
),
assignees as (
    select assignee_id as agent_id, arg_max(assignee_name, observed_at) as name
    from zipchat.raw_conversations
    where chat_id = $chat_id and assignee_id is not null
    group by assignee_id
)
select
    coalesce(handled.agent_id, written.agent_id)::varchar as agent_id,
    case
        when coalesce(handled.agent_id, written.agent_id) is null then 'unassigned'
        -- A former agent is no longer listed; the conversations still show the name.
        else coalesce(
            nullif(trim(users.full_name), ''),
            nullif(trim(assignees.name), ''),
            'user ' || coalesce(handled.agent_id, written.agent_id)
        )
    end as name,
    coalesce(escalations, 0) as escalations,
    coalesce(answered, 0) as answered,
    coalesce(resolved, 0) as resolved,
    coalesce(human_messages, 0) as human_messages,
    first_response_seconds_p50
from handled
full join written on written.agent_id is not distinct from handled.agent_id
left join zipchat.users
    on users.chat_id = $chat_id and users.user_id = coalesce(handled.agent_id, written.agent_id)
left join assignees on assignees.agent_id = coalesce(handled.agent_id, written.agent_id)
order by coalesce(handled.agent_id, written.agent_id) is null, escalations desc, human_messages desc, name, agent_id
