-- grain: one row per value of `suppressed` that the erasure does not suppress yet
insert into zipchat.suppressions (chat_id, value_hash, kind, erasure_id, since, hits)
select distinct $chat_id, value_hash, kind, $erasure_id, $now::timestamptz, 0
from suppressed
where not exists (
    from zipchat.suppressions as known
    where known.chat_id = $chat_id
        and known.erasure_id = $erasure_id
        and known.value_hash = suppressed.value_hash
)
