-- grain: one row per chat of `listed`: who waits and what is open now, when it was synced, and whether all days from
-- $first to $last have metrics
with waiting as (
    select
        chat_id,
        count(*) as waiting,
        min(waiting_since) as since,
        count(*) filter (breach_at <= $now) as late
    from zipchat.escalations_waiting
    -- as in report_waiting.sql
    where waiting_for in ('first_response', 'next_response')
    group by chat_id
),
opened as (
    select chat_id, count(*) as open
    from zipchat.escalations
    where escalated_at < $now and coalesce(ended_at >= $now, true)
    group by chat_id
),
synced as (
    select chat_id, max(as_of) as as_of from zipchat.listing_coverage group by chat_id
),
computed as (
    select chat_id, count(*) as days
    from zipchat.escalation_metrics
    where dimension = 'all' and partition_date between $first::date and $last::date
    group by chat_id
)
select
    listed.chat_id as chat,
    listed.name,
    case when computed.days > 0 then listed.link end as link,
    coalesce(waiting.waiting, 0) as waiting,
    epoch(waiting.since) as since,
    coalesce(waiting.late, 0) as late,
    coalesce(opened.open, 0) as open,
    epoch(synced.as_of) as synced,
    coalesce(computed.days, 0) = $last::date - $first::date + 1 as is_comparable
from listed
left join waiting on waiting.chat_id = listed.chat_id
left join opened on opened.chat_id = listed.chat_id
left join synced on synced.chat_id = listed.chat_id
left join computed on computed.chat_id = listed.chat_id
