-- grain: one row per conversation of the chat that matches $pattern and is not in `erased`
with others as (
    select conversation_id, concat_ws(' ', message_text, payload) as text
    from zipchat.raw_messages
    where chat_id = $chat_id and conversation_id not in (select conversation_id from erased)
    union all
    select conversation_id, concat_ws(' ', payload, show_payload)
    from zipchat.raw_conversations
    where chat_id = $chat_id and conversation_id not in (select conversation_id from erased)
)
select distinct conversation_id
from others
where regexp_matches(text, $pattern)
order by conversation_id
