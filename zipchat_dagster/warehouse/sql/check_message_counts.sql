-- grain: one row per conversation with fewer messages than the API stated, at most $most
-- More is fine: some came after the count was stated.
with stored as (
    select conversation_id, count(*) as messages
    from zipchat.raw_messages
    where chat_id = $chat_id
    group by conversation_id
)
select
    coverage.conversation_id as offender,
    coverage.stated_messages as stated,
    coalesce(stored.messages, 0) as stored,
    count(*) over () as offenders
from zipchat.message_coverage as coverage
left join stored on stored.conversation_id = coverage.conversation_id
where coverage.chat_id = $chat_id and coverage.stated_messages > coalesce(stored.messages, 0)
order by offender
limit $most
