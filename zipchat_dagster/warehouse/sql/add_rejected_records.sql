-- grain: one row per record of `batch` without a usable id, stored once however often it is seen
insert into zipchat.rejected_records (chat_id, kind, payload, observed_at)
select $chat_id, $kind, payload::json, min(observed_at)
from batch
where id is null
    and not exists (
        from zipchat.rejected_records as known
        where known.chat_id = $chat_id and known.kind = $kind and known.payload::varchar = batch.payload
    )
group by payload
