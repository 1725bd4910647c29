-- grain: one row per attempt to send this text to this conversation that may have succeeded, newest first
select run_id, root_run_id = $root_run_id as is_own, newest_message_id, epoch(attempted_at), outcome, message_id
from zipchat.write_back_attempts
where chat_id = $chat_id
    and conversation_id = $conversation_id
    and text_hash = $text_hash
    and outcome <> 'refused'
    and (root_run_id = $root_run_id or attempted_at >= $since)
order by attempted_at desc;
