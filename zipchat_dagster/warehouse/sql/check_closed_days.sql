-- grain: one row per conversation with messages in [$first, $closed) that are not stored, at most $most
-- Only what is certain: its newest message is in there, and what is stored ends before it. Those that
-- could not be read are named by another check.
select
    conversation_id as offender,
    strftime(cast(timezone($timezone, last_message_at) as date), '%Y-%m-%d') as day,
    count(*) over () as offenders
from zipchat.message_completeness
where chat_id = $chat_id
    and missing_since is null
    and last_message_at >= $first
    and last_message_at < $closed
    and failed_at is null
    and complete_from is null
order by last_message_at, offender
limit $most
