-- grain: one row per message; created_at in Unix seconds
select conversation_id, message_id, epoch(created_at) as created_at, payload::varchar as payload
from zipchat.raw_messages
where chat_id = $chat_id
