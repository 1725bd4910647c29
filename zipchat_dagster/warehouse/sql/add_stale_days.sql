-- grain: one row per stored day of metrics that the conversations of `changed` can have altered
-- Runs before the facts of `changed` are replaced.
insert into zipchat.stale_days (chat_id, partition_date)
with stored as (
    select chat_id, partition_date as day from zipchat.escalation_metrics where dimension = 'all'
    except
    select chat_id, partition_date from zipchat.stale_days
),
written as (
    select message.chat_id, message.partition_date as day
    from zipchat.raw_messages as message
    inner join changed
        on changed.chat_id = message.chat_id
        and changed.conversation_id = message.conversation_id
        and (message.observed_at >= changed.since or changed.has_other_channel)
    where (message.chat_id, message.partition_date) in (select (chat_id, day) from stored)
),
started as (
    select conversation.chat_id, conversation.partition_date as day
    from zipchat.raw_conversations as conversation
    inner join changed
        on changed.chat_id = conversation.chat_id
        and changed.conversation_id = conversation.conversation_id
        and changed.has_other_channel
),
-- Without what grows with time and no metric counts.
derived as (
    select * exclude (customer_wait_seconds, computed_at) from new_escalations
),
-- In the order of the columns of `derived`, since whole rows are compared.
known as (
    from derived where false
    union all by name
    select * exclude (customer_wait_seconds, computed_at)
    from zipchat.escalations
    where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed)
),
compared as (
    select
        chat_id,
        conversation_id,
        escalated_at,
        coalesce(old.ended_at, 'infinity') as old_end,
        coalesce(new.ended_at, 'infinity') as new_end,
        coalesce(
            old.channel is not distinct from new.channel
            and coalesce(old.assignee_id, old.first_responder_id)
            is not distinct from coalesce(new.assignee_id, new.first_responder_id)
            and old.escalated_at = new.escalated_at,
            false
        ) as is_in_same_slices
    from known as old
    full join derived as new using (chat_id, conversation_id, escalated_at)
    where old is distinct from new
),
-- Next responses that have come, that another gave, or that are no longer there.
promised as (
    select chat_id, conversation_id, starts_at, partition_date, channel, agent_id, elapsed_seconds
    from zipchat.sla_events
    where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed)
        and metric = 'next_response'
        and is_kept
),
newly_promised as (
    select chat_id, conversation_id, starts_at, partition_date, channel, agent_id, elapsed_seconds
    from new_sla_events
    where metric = 'next_response' and is_kept
),
replied as (
    select chat_id, partition_date as day
    from ((from promised except from newly_promised) union all (from newly_promised except from promised))
),
-- One more or less makes others of the conversation second or first ones.
escalated as (
    select chat_id, unnest([partition_date, cast(timezone($timezone, resolved_at) as date)]) as day
    from (from known union all by name from derived)
    where (chat_id, conversation_id) in (select (chat_id, conversation_id) from compared)
),
-- The days at whose end an escalation waits: those between the two ends, or all if it waits elsewhere.
waited as (
    select
        chat_id,
        case when is_in_same_slices then least(old_end, new_end) else escalated_at end as since,
        greatest(old_end, new_end) as until
    from compared
)
select chat_id, day from stored semi join written using (chat_id, day)
union
select chat_id, day from stored semi join started using (chat_id, day)
union
select chat_id, day from stored semi join escalated using (chat_id, day)
union
select chat_id, day from stored semi join replied using (chat_id, day)
union
select stored.chat_id, stored.day
from stored
inner join waited
    on waited.chat_id = stored.chat_id
    and stored.day between cast(timezone($timezone, waited.since) as date) and cast(timezone($timezone, waited.until) as date)
