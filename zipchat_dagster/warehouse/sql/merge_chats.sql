-- grain: one row per chat of `listed`
merge into zipchat.chats as known
using listed on known.chat_id = listed.chat_id
when matched and (known.name <> listed.name or not known.is_current) then update set
    name = listed.name,
    is_current = true,
    since = case when known.is_current then known.since else $now end
when not matched then insert (chat_id, name, is_current, since)
values (listed.chat_id, listed.name, true, $now)
