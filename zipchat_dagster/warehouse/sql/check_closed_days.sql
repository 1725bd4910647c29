-- grain: one row per conversation with messages in [$first, $closed) that are not stored, at most $most
-- Only what is certain: its newest message is in there, and what is stored ends before it. Those that
-- could not be read are named by another check.
select
    conversation.conversation_id as offender,
    strftime(cast(timezone($timezone, conversation.last_message_at) as date), '%Y-%m-%d') as day,
    count(*) over () as offenders
from zipchat.raw_conversations as conversation
left join zipchat.message_coverage as coverage
    on coverage.chat_id = conversation.chat_id and coverage.conversation_id = conversation.conversation_id
where conversation.missing_since is null
    and conversation.last_message_at >= $first
    and conversation.last_message_at < $closed
    and coverage.failure is null
    and (coverage.covered_through is null or coverage.covered_through < conversation.last_message_at)
order by conversation.last_message_at, offender
limit $most
