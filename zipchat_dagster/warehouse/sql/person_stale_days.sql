-- grain: one row per stored day of metrics that the conversations of `erased` counted in
insert into zipchat.stale_days (chat_id, partition_date)
with days as (
    select partition_date from zipchat.raw_conversations
    where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
    union
    select partition_date from zipchat.raw_messages
    where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
),
-- An escalation counts on each day at whose end it waited, and on that of its resolution.
waited as (
    select partition_date as first, greatest(resolved_at, coalesce(ended_at, 'infinity')) as until
    from zipchat.escalations
    where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
),
stored as (
    select chat_id, partition_date from zipchat.escalation_metrics where chat_id = $chat_id and dimension = 'all'
    except
    select chat_id, partition_date from zipchat.stale_days
)
select chat_id, partition_date
from stored
where partition_date in (select partition_date from days)
    or exists (
        from waited
        where stored.partition_date >= waited.first and zipchat.day_starts_at(stored.partition_date) <= waited.until
    )
