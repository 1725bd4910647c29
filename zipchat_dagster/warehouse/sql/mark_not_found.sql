-- grain: one row per conversation of `gone`, which the show endpoint answered with 404
update zipchat.raw_conversations
set missing_since = $at, observed_at = $at
where chat_id = $chat_id
    and missing_since is null
    and conversation_id in (select conversation_id from gone)
