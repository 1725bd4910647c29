-- grain: one row per message of the conversations in `wanted`, oldest first; created_at in Unix seconds
select conversation_id, epoch(created_at) as created_at, payload::varchar as payload
from zipchat.raw_messages
where chat_id = $chat_id and conversation_id in (select conversation_id from wanted)
order by raw_messages.created_at, message_id
