-- grain: one row: an erasure that begins
insert into zipchat.erasures (chat_id, erasure_id, subject_hash, begun_at)
values ($chat_id, $erasure_id, $subject_hash, $now)
