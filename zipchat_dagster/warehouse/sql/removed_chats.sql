-- grain: one row per chat that is still current and not in `listed`
select chat_id, name from zipchat.chats anti join listed using (chat_id) where is_current order by chat_id
