-- grain: one row per conversation, as if all of them had just been stored
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select chat_id, conversation_id, '1970-01-01'::timestamptz
from (
    select chat_id, conversation_id from zipchat.raw_conversations
    union
    select chat_id, conversation_id from zipchat.conversation_history
    union
    select chat_id, conversation_id from zipchat.escalations
    union
    select chat_id, conversation_id from zipchat.customer_turns
    union
    select chat_id, conversation_id from zipchat.sla_events
    union
    select chat_id, conversation_id from zipchat.conversation_facts
)
