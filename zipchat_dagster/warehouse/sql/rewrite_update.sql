-- grain: one row of {table} per row of `batch`
update zipchat.{table} as known
set {changes}
from batch
where known.chat_id = $chat_id and known.{id} = batch.id and epoch_us(known.observed_at) is not distinct from batch.seen
