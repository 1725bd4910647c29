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
        coalesce(new.chat_id, old.chat_id) as chat_id,
        coalesce(new.conversation_id, old.conversation_id) as conversation_id,
        coalesce(new.escalated_at, old.escalated_at) as escalated_at,
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
    full join derived as new
        on new.chat_id = old.chat_id
        and new.conversation_id = old.conversation_id
        and new.escalated_at = old.escalated_at
    where old is distinct from new
),
-- Turns in a person's hands that were answered otherwise, or not yet, or are no longer there.
turned as (
    select
        coalesce(new.chat_id, old.chat_id) as chat_id,
        unnest([old.partition_date, new.partition_date]) as day
    from (
        from zipchat.customer_turns
        where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed)
    ) as old
    full join new_customer_turns as new
        on new.chat_id = old.chat_id and new.conversation_id = old.conversation_id and new.turn = old.turn
    where (old.escalated_at is not null or new.escalated_at is not null)
        and (old.asked_at, old.escalated_at, old.channel, old.answered_at, old.answered_by, old.sender_id)
        is distinct from
        (new.asked_at, new.escalated_at, new.channel, new.answered_at, new.answered_by, new.sender_id)
),
-- One more or less makes others of the conversation second or first ones.
escalated as (
    select chat_id, partition_date as day
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
select chat_id, day from stored semi join turned using (chat_id, day)
union
select stored.chat_id, stored.day
from stored
inner join waited
    on waited.chat_id = stored.chat_id
    and stored.day between cast(timezone($timezone, waited.since) as date) and cast(timezone($timezone, waited.until) as date)
