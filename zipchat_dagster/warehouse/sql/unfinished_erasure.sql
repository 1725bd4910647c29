-- grain: one row per unfinished erasure of the subject
select erasure_id, deleted::varchar from zipchat.erasures
where chat_id = $chat_id and subject_hash = $subject_hash and finished_at is null
