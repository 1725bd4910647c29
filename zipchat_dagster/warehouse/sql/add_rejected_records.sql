-- grain: one row per record of `batch`, which have no usable id, stored once however often it is seen
insert into zipchat.rejected_records (chat_id, kind, payload, observed_at, conversation_id)
select $chat_id, $kind, payload::json, min(observed_at), min(conversation_id)::bigint
from batch
where not exists (
    from zipchat.rejected_records as known
    where known.chat_id = $chat_id and known.kind = $kind and known.payload::varchar = batch.payload
)
group by payload
