-- grain: one row per message of `batch`, which holds each id once
merge into zipchat.raw_messages as known
using (
    select
        $chat_id::bigint as chat_id,
        try_cast(payload ->> 'id' as bigint) as message_id,
        cast(timezone($timezone, try_cast(regexp_extract(payload ->> 'created_at', '^\d{4}-.*') as timestamptz)) as date) as partition_date,
        conversation_id,
        payload ->> 'role' as role,
        payload ->> 'message' as message,
        message_text,
        try_cast(payload ->> 'manual_reply' as boolean) as manual_reply,
        payload ->> 'status' as status,
        try_cast(payload ->> 'sender_id' as bigint) as sender_id,
        try_cast(regexp_extract(payload ->> 'created_at', '^\d{4}-.*') as timestamptz) as created_at,
        payload::json as payload,
        observed_at
    from batch
    where try_cast(payload ->> 'id' as bigint) is not null
    qualify row_number() over (partition by try_cast(payload ->> 'id' as bigint) order by observed_at desc) = 1
) as observed
on known.chat_id = observed.chat_id and known.message_id = observed.message_id
when matched and observed.observed_at >= known.observed_at then update set
    partition_date = observed.partition_date,
    conversation_id = observed.conversation_id,
    role = observed.role,
    message = observed.message,
    message_text = observed.message_text,
    manual_reply = observed.manual_reply,
    status = observed.status,
    sender_id = observed.sender_id,
    created_at = observed.created_at,
    payload = observed.payload,
    observed_at = observed.observed_at
when not matched then insert (
    chat_id, message_id, partition_date, conversation_id, role, message, message_text,
    manual_reply, status, sender_id, created_at, payload, observed_at
) values (
    observed.chat_id, observed.message_id, observed.partition_date, observed.conversation_id, observed.role,
    observed.message, observed.message_text, observed.manual_reply, observed.status, observed.sender_id,
    observed.created_at, observed.payload, observed.observed_at
)
