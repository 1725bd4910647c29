-- grain: one row per conversation whose messages could not be read when last asked for, at most $most
select
    conversation_id as offender,
    failure as cause,
    count(*) over () as offenders
from zipchat.message_coverage
where chat_id = $chat_id and failure is not null
order by failed_at desc, conversation_id
limit $most
