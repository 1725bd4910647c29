-- grain: one row per user whom the complete list of $as_of no longer shows
update zipchat.users
set is_current = false
where chat_id = $chat_id and is_current and last_seen_at < $as_of
