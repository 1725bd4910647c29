-- grain: one row per conversation whose state may have changed without a trace in the list
-- The API's filter only knows messages, so a resolution or a hand-back shows nowhere. Open escalations
-- and conversations in manual mode are therefore read again: young ones in every run, older ones once
-- they have gone unseen for a tenth of their age. listed_with: how many conversations a listing returns
-- that goes back to this one.
with known as (
    select
        conversation_id,
        observed_at,
        manual_reply_mode,
        last_escalated_at,
        last_escalated_at is not null
        and (last_escalation_resolved_at is null or last_escalation_resolved_at < last_escalated_at) as is_open,
        -- without a message, or with an unreadable time, no listing shows it
        coalesce(last_message_at, created_at, observed_at) as last_message_at
    from zipchat.raw_conversations
    where chat_id = $chat_id and missing_since is null
),
ranked as (
    select
        *,
        count(*) over (order by last_message_at desc) as listed_with,
        $now::timestamptz - greatest(last_message_at, last_escalated_at) as age,
        $now::timestamptz - observed_at as unseen
    from known
)
select conversation_id, last_message_at, listed_with
from ranked
where (is_open or manual_reply_mode)
    and (age < interval 3 day or unseen >= age / 10)
-- youngest first, then the most overdue
order by age < interval 3 day desc, epoch(unseen) / greatest(epoch(age), 1) desc, conversation_id
