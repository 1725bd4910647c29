-- grain: one row: an erasure, with what was deleted and found
update zipchat.erasures
set deleted = $deleted::json, finished_at = $finished_at, verification = $verification
where chat_id = $chat_id and erasure_id = $erasure_id
