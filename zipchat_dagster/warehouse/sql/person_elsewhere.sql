-- grain: one row per text of `words` and other chat in whose raw tables it is
with others as (
    select chat_id, concat_ws(' ', message_text, payload) as text from zipchat.raw_messages where chat_id <> $chat_id
    union all
    select chat_id, concat_ws(' ', payload, show_payload) from zipchat.raw_conversations where chat_id <> $chat_id
)
select distinct others.chat_id, words.word
from words
inner join others on contains(others.text, words.word)
