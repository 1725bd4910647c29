-- grain: one row per message of the days of `days`
create or replace temp table written as
select
    message.partition_date as day,
    message.conversation_id,
    message.created_at as happened_at,
    coalesce(conversation.channel, 'unknown') as channel,
    message.manual_reply is true as is_human,
    message.role = 'user' as is_customer,
    message.role = 'assistant' and message.manual_reply is not true as is_ai,
    message.sender_id
from zipchat.raw_messages as message
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
where message.chat_id = $chat_id and message.partition_date in (select day from days)
