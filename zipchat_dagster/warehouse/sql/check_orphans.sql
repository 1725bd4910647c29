-- grain: one row per conversation that is not stored although messages of it are, at most $most
select
    message.conversation_id as offender,
    count(*) as messages,
    count(*) over () as offenders
from zipchat.raw_messages as message
anti join zipchat.raw_conversations using (chat_id, conversation_id)
where message.chat_id = $chat_id
group by message.conversation_id
order by offender
limit $most
