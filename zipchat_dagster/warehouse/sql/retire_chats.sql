-- grain: one row per chat that is still current and not in `listed`
update zipchat.chats
set is_current = false, since = $now
where is_current and chat_id not in (select chat_id from listed)
