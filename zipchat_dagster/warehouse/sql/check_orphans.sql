-- grain: one row per conversation that is not stored although messages of it are, at most $most
select
    message.conversation_id as offender,
    count(*) as messages,
    count(*) over () as offenders
from zipchat.raw_messages as message
anti join zipchat.raw_conversations as conversation
    on conversation.chat_id = message.chat_id and conversation.conversation_id = message.conversation_id
where message.chat_id = $chat_id
group by message.conversation_id
order by offender
limit $most
