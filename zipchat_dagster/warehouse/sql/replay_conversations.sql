-- grain: one row per conversation of `wanted`: its payloads, and which of them shows the newer state
select
    conversation_id,
    payload::varchar as payload,
    show_payload::varchar as show_payload,
    shown_at is not null and shown_at >= observed_at as is_shown_last
from zipchat.raw_conversations
where chat_id = $chat_id and conversation_id in (select conversation_id from wanted)
