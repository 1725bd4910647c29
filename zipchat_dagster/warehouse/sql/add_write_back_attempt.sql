-- grain: one row, the attempt that is about to be made
insert into zipchat.write_back_attempts by name
select
    $chat_id as chat_id,
    $conversation_id as conversation_id,
    $text_hash as text_hash,
    $run_id as run_id,
    $root_run_id as root_run_id,
    $newest_message_id as newest_message_id,
    $attempted_at as attempted_at,
    'unknown' as outcome;
