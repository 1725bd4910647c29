-- grain: one row per message written before $before whose text is there, at most $most
select chat_id, message_id, coalesce(payload::varchar, '{}')
from zipchat.raw_messages
where redacted_at is null and coalesce(created_at, observed_at) < $before
limit $most
