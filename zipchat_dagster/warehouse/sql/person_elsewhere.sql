-- grain: one row per text of `words` and other chat in whose raw tables it is; $pattern matches all of them
with others as (
    select chat_id, concat_ws(' ', message_text, payload) as text from zipchat.raw_messages where chat_id <> $chat_id
    union all
    select chat_id, concat_ws(' ', payload, show_payload) from zipchat.raw_conversations where chat_id <> $chat_id
),
found as (
    select * from others where regexp_matches(text, $pattern)
)
select distinct found.chat_id, words.word
from found
inner join words on contains(found.text, words.word)
