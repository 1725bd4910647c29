-- grain: one row per conversation of the chat, as if all of them had just been stored
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select chat_id, conversation_id, '1970-01-01'::timestamptz
from (
    select chat_id, conversation_id from zipchat.raw_conversations where chat_id = $chat_id
    union
    select chat_id, conversation_id from zipchat.conversation_history where chat_id = $chat_id
    union
    select chat_id, conversation_id from zipchat.escalations where chat_id = $chat_id
    union
    select chat_id, conversation_id from zipchat.customer_turns where chat_id = $chat_id
    union
    select chat_id, conversation_id from zipchat.sla_events where chat_id = $chat_id
    union
    select chat_id, conversation_id from zipchat.conversation_facts where chat_id = $chat_id
)
