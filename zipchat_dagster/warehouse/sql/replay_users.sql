-- grain: one row per user whom the newest list shows
select user_id, payload::varchar as payload
from zipchat.users
where chat_id = $chat_id and is_current
order by user_id
