-- grain: one row: the list by which erased people are kept away, and how much of it another key has hashed
select
    count(*) as listed,
    count(distinct erasure_id) as erasures,
    count(*) filter (split_part(value_hash, ':', 2) <> $fingerprint) as unusable,
    coalesce(sum(hits) filter (kind = 'conversation_id'), 0)::bigint as dropped,
    strftime(max(last_hit_at), '%Y-%m-%dT%H:%M:%SZ') as last_dropped_at
from zipchat.suppressions
where chat_id = $chat_id
