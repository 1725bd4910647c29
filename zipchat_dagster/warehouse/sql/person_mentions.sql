-- grain: one row per conversation of others and text of `words` that it holds; $pattern matches all of them
with others as (
    select chat_id, conversation_id, concat_ws(' ', message_text, payload) as text from zipchat.raw_messages
    union all
    select chat_id, conversation_id, concat_ws(' ', payload, show_payload) from zipchat.raw_conversations
),
found as (
    select * from others where {is_other} and regexp_matches(text, $pattern)
)
select distinct found.chat_id, found.conversation_id, words.word
from found
inner join words on contains(found.text, words.word)
