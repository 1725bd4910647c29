-- grain: one row per conversation of a lead that a conversation of `erased` has or had
-- For another lead that remains, another conversation may now be the first one, or a repeat contact.
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select chat_id, conversation_id, '1970-01-01'::timestamptz
from zipchat.raw_conversations
where chat_id = $chat_id
    and conversation_id not in (select conversation_id from erased)
    and lead_id in (
        select lead_id from zipchat.raw_conversations
        where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
        union
        select lead_id from zipchat.conversation_facts
        where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
    )
