-- grain: one row per row of `batch`, as it was
delete from zipchat.rejected_records as known
using batch
where known.chat_id = $chat_id
    and epoch_us(known.observed_at) = batch.seen
    and known.kind = batch.kind
    and known.payload::varchar = batch.former
