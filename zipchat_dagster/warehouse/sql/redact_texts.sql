-- grain: one row per message of `redacted`, which loses its text
update zipchat.raw_messages as known
set message = null, message_text = null, payload = redacted.payload::json, redacted_at = $now::timestamptz
from redacted
where known.chat_id = redacted.chat_id and known.message_id = redacted.message_id
