-- grain: one row per conversation of the chat that was read in the last $days days before the newest reading
select conversation_id, lead_id, lead_email, lead_phone_number
from zipchat.raw_conversations
where chat_id = $chat_id
    and observed_at >= (
        select max(observed_at) from zipchat.raw_conversations where chat_id = $chat_id
    ) - to_days($days)
