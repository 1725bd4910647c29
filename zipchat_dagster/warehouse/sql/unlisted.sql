-- grain: one row per conversation that a complete listing since $since should have shown and did not
select conversation_id
from zipchat.raw_conversations
where chat_id = $chat_id
    and missing_since is null
    and last_message_at >= $since
    and observed_at < $as_of
    and conversation_id not in (select conversation_id from listed)
order by last_message_at desc, conversation_id
