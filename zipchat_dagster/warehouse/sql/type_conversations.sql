-- grain: one row per conversation of `batch` (its last observation there), typed leniently, as it will be stored
create or replace temp table observed as
with newest as (
    select * from batch
    where id is not null
    qualify row_number() over (partition by id order by observed_at desc, position desc) = 1
),
-- A field that only the list endpoint gives must not become NULL because the show endpoint lacks it.
complete as (
    select
        newest.*,
        case when newest.is_show
            then json_merge_patch(coalesce(known.payload, '{}'::json), newest.payload::json)
            else newest.payload::json
        end as merged,
        if(newest.is_show, known.payload, newest.payload::json) as listed,
        if(newest.is_show, newest.payload::json, known.show_payload) as shown,
        if(newest.is_show, newest.observed_at, known.shown_at) as shown_at
    from newest
    left join zipchat.raw_conversations as known
        on known.chat_id = $chat_id and known.conversation_id = newest.id
),
parsed as (
    select
        *,
        -- one parse of the payload; what does not fit becomes NULL
        from_json(merged, '{
            "created_at": "VARCHAR", "last_message_at": "VARCHAR", "channel": "VARCHAR",
            "manual_reply_mode": "VARCHAR", "last_escalated_at": "VARCHAR",
            "last_escalation_resolved_at": "VARCHAR", "share_url": "VARCHAR",
            "assignee": {
                "id": "VARCHAR", "full_name": "VARCHAR", "name": "VARCHAR", "first_name": "VARCHAR", "last_name": "VARCHAR"
            },
            "lead": {
                "id": "VARCHAR", "full_name": "VARCHAR", "email": "VARCHAR", "phone_number": "VARCHAR",
                "email_marketing_consent": "VARCHAR"
            }
        }') as record
    from complete
)
select
    $chat_id::bigint as chat_id,
    id as conversation_id,
    -- A cast takes 'epoch' and 'infinity' for times, too, and Python has no time after the year 9999.
    try_cast(regexp_extract(record.created_at, '^(19|20)\d\d-.*') as timestamptz) as created_at,
    cast(timezone($timezone, created_at) as date) as partition_date,
    try_cast(regexp_extract(record.last_message_at, '^(19|20)\d\d-.*') as timestamptz) as last_message_at,
    record.channel as channel,
    try_cast(record.manual_reply_mode as boolean) as manual_reply_mode,
    try_cast(regexp_extract(record.last_escalated_at, '^(19|20)\d\d-.*') as timestamptz) as last_escalated_at,
    try_cast(regexp_extract(record.last_escalation_resolved_at, '^(19|20)\d\d-.*') as timestamptz) as last_escalation_resolved_at,
    try_cast(regexp_extract(record.assignee.id, '^-?\d+$') as bigint) as assignee_id,
    coalesce(
        record.assignee.full_name,
        record.assignee.name,
        nullif(trim(concat_ws(' ', record.assignee.first_name, record.assignee.last_name)), '')
    ) as assignee_name,
    try_cast(regexp_extract(record.lead.id, '^-?\d+$') as bigint) as lead_id,
    record.lead.full_name as lead_full_name,
    record.lead.email as lead_email,
    record.lead.phone_number as lead_phone_number,
    try_cast(record.lead.email_marketing_consent as boolean) as lead_email_marketing_consent,
    record.share_url as share_url,
    null::timestamptz as missing_since,
    listed as payload,
    shown as show_payload,
    shown_at,
    observed_at
from parsed
