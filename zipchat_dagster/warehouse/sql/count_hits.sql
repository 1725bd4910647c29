-- grain: one row per suppressed value of `found`, by which records were recognized
update zipchat.suppressions
set hits = suppressions.hits + counted.hits, last_hit_at = greatest(suppressions.last_hit_at, counted.last_hit_at)
from (select value_hash, count(*) as hits, max(read_at) as last_hit_at from found group by value_hash) as counted
where suppressions.chat_id = $chat_id and suppressions.value_hash = counted.value_hash
