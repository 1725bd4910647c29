-- grain: one row per message of `batch`, in its last observation there
merge into zipchat.raw_messages as known
using (
    select
        $chat_id::bigint as chat_id,
        id as message_id,
        try_cast(regexp_extract(record.created_at, '^(19|20)\d\d-.*') as timestamptz) as created_at,
        cast(timezone($timezone, created_at) as date) as partition_date,
        conversation_id,
        record.role as role,
        record.message as message,
        message_text,
        try_cast(record.manual_reply as boolean) as manual_reply,
        record.status as status,
        try_cast(regexp_extract(record.sender_id, '^-?\d+$') as bigint) as sender_id,
        payload::json as payload,
        observed_at,
        redacted_at
    from (
        select
            *,
            -- one parse of the payload; what does not fit becomes NULL
            from_json(payload, '{
                "role": "VARCHAR", "message": "VARCHAR", "manual_reply": "VARCHAR", "status": "VARCHAR",
                "sender_id": "VARCHAR", "created_at": "VARCHAR"
            }') as record
        from batch
        where id is not null
        qualify row_number() over (partition by id order by observed_at desc, position desc) = 1
    )
) as observed
on known.chat_id = observed.chat_id and known.message_id = observed.message_id
when matched and observed.observed_at >= known.observed_at then update by name
when not matched then insert by name
