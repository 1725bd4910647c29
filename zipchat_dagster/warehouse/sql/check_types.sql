-- grain: one row per field of $table's payloads that its column did not take as it is, with $most ids
-- Either the column is NULL although the payload holds a value, or a text column holds what is no
-- text. A conversation was typed from its newest answer: from what the list says of it, or from what
-- the show endpoint said on top of that.
with conversations as (
    select
        conversation_id as id,
        *,
        case when payload is null or shown_at = observed_at
            then json_merge_patch(coalesce(payload, '{}'), show_payload)
            else payload
        end as record
    from zipchat.raw_conversations
    where chat_id = $chat_id and $table = 'raw_conversations' and missing_since is null
),
fields as (
    select
        id,
        unnest([
            'created_at', 'last_message_at', 'last_escalated_at', 'last_escalation_resolved_at',
            'manual_reply_mode', 'assignee', 'assignee.id', 'lead', 'lead.id',
            'lead.email_marketing_consent', 'channel', 'share_url', 'lead.full_name', 'lead.email',
            'lead.phone_number'
        ]) as field,
        unnest([
            'OTHER', 'OTHER', 'OTHER', 'OTHER', 'OTHER', 'OBJECT', 'OTHER', 'OBJECT', 'OTHER', 'OTHER',
            'TEXT', 'TEXT', 'TEXT', 'TEXT', 'TEXT'
        ]) as wanted,
        unnest([
            created_at is null, last_message_at is null, last_escalated_at is null,
            last_escalation_resolved_at is null, manual_reply_mode is null, assignee_id is null,
            assignee_id is null, lead_id is null, lead_id is null, lead_email_marketing_consent is null,
            channel is null, share_url is null, lead_full_name is null, lead_email is null,
            lead_phone_number is null
        ]) as is_null,
        unnest(json_extract(record, [
            '$.created_at', '$.last_message_at', '$.last_escalated_at', '$.last_escalation_resolved_at',
            '$.manual_reply_mode', '$.assignee', '$.assignee.id', '$.lead', '$.lead.id',
            '$.lead.email_marketing_consent', '$.channel', '$.share_url', '$.lead.full_name', '$.lead.email',
            '$.lead.phone_number'
        ])) as value
    from conversations
    union all
    select
        message_id,
        unnest(['created_at', 'manual_reply', 'sender_id', 'role', 'message', 'status']),
        unnest(['OTHER', 'OTHER', 'OTHER', 'TEXT', 'TEXT', 'TEXT']),
        unnest([
            created_at is null, manual_reply is null, sender_id is null, role is null, message is null,
            status is null
        ]),
        unnest(json_extract(payload, [
            '$.created_at', '$.manual_reply', '$.sender_id', '$.role', '$.message', '$.status'
        ]))
    from zipchat.raw_messages
    where chat_id = $chat_id and $table = 'raw_messages'
    union all
    select
        user_id,
        unnest(['full_name', 'name', 'email', 'avatar_url', 'role']),
        unnest(['TEXT', 'TEXT', 'TEXT', 'TEXT', 'TEXT']),
        unnest([full_name is null, full_name is null, email is null, avatar_url is null, role is null]),
        unnest(json_extract(payload, ['$.full_name', '$.name', '$.email', '$.avatar_url', '$.role']))
    from zipchat.users
    where chat_id = $chat_id and $table = 'users'
),
wrong as (
    select id, field
    from fields
    where json_type(value) <> 'NULL'
        and case wanted
            when 'TEXT' then is_null or json_type(value) <> 'VARCHAR'
            when 'OBJECT' then is_null and json_type(value) <> 'OBJECT'
            else is_null
        end
)
select field, count(*) as records, list(id order by id)[1:$most] as ids
from wrong
group by field
order by field
