-- grain: one row per conversation with an escalation, as if all of them had just been stored
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select distinct chat_id, conversation_id, '1970-01-01'::timestamptz
from (
    select chat_id, conversation_id from zipchat.conversation_history where last_escalated_at is not null
    union all
    select chat_id, conversation_id from zipchat.escalations
)
