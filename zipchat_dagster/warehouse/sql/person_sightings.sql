-- grain: one row per conversation of the chat and lead that it was ever seen with, in each form that is stored
create or replace temp table sightings as
with seen as (
    select conversation_id, lead_id, lead_email as email, lead_phone_number as phone_number
    from zipchat.raw_conversations
    where chat_id = $chat_id
    union all
    select
        conversation_id,
        try_cast(shown ->> '$.lead.id' as bigint),
        shown ->> '$.lead.email',
        shown ->> '$.lead.phone_number'
    from (
        select conversation_id, unnest([payload, show_payload]) as shown
        from zipchat.raw_conversations
        where chat_id = $chat_id
    )
    union all
    -- of the lead that it had when its facts were derived
    select conversation_id, lead_id, null, null from zipchat.conversation_facts where chat_id = $chat_id
    union all
    select null, lead_id, email, phone_number from zipchat.leads where chat_id = $chat_id
)
select distinct * from seen where coalesce(lead_id::varchar, email, phone_number) is not null
