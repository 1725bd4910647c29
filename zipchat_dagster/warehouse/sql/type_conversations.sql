-- grain: one row per conversation of `batch` (its last observation there), typed leniently
create or replace temp table observed as
with newest as (
    select * from batch
    where try_cast(payload ->> 'id' as bigint) is not null
    qualify row_number() over (partition by try_cast(payload ->> 'id' as bigint) order by observed_at desc, position desc) = 1
),
-- A field that only the list endpoint gives must not become NULL because the show endpoint lacks it.
complete as (
    select
        newest.payload as received,
        newest.is_show,
        newest.observed_at,
        case when newest.is_show
            then json_merge_patch(coalesce(known.payload, '{}'::json), newest.payload::json)
            else newest.payload::json
        end as payload
    from newest
    left join zipchat.raw_conversations as known
        on known.chat_id = $chat_id and known.conversation_id = try_cast(newest.payload ->> 'id' as bigint)
)
select
    $chat_id::bigint as chat_id,
    try_cast(payload ->> 'id' as bigint) as conversation_id,
    try_cast(regexp_extract(payload ->> 'created_at', '^\d{4}-.*') as timestamptz) as created_at,
    cast(timezone($timezone, try_cast(regexp_extract(payload ->> 'created_at', '^\d{4}-.*') as timestamptz)) as date) as partition_date,
    try_cast(regexp_extract(payload ->> 'last_message_at', '^\d{4}-.*') as timestamptz) as last_message_at,
    payload ->> 'channel' as channel,
    try_cast(payload ->> 'manual_reply_mode' as boolean) as manual_reply_mode,
    try_cast(regexp_extract(payload ->> 'last_escalated_at', '^\d{4}-.*') as timestamptz) as last_escalated_at,
    try_cast(regexp_extract(payload ->> 'last_escalation_resolved_at', '^\d{4}-.*') as timestamptz) as last_escalation_resolved_at,
    try_cast(payload ->> '$.assignee.id' as bigint) as assignee_id,
    coalesce(
        payload ->> '$.assignee.full_name',
        payload ->> '$.assignee.name',
        nullif(trim(concat_ws(' ', payload ->> '$.assignee.first_name', payload ->> '$.assignee.last_name')), '')
    ) as assignee_name,
    try_cast(payload ->> '$.lead.id' as bigint) as lead_id,
    payload ->> '$.lead.full_name' as lead_full_name,
    payload ->> '$.lead.email' as lead_email,
    payload ->> '$.lead.phone_number' as lead_phone_number,
    try_cast(payload ->> '$.lead.email_marketing_consent' as boolean) as lead_email_marketing_consent,
    payload ->> 'share_url' as share_url,
    received::json as payload,
    is_show,
    observed_at
from complete
