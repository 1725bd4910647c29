-- grain: one row per conversation of `batch` whose channel has changed, since it was no word
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select $chat_id::bigint, id, make_timestamptz(seen) from batch where channel is distinct from former
