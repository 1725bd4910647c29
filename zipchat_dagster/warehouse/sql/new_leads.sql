-- grain: one row per lead of the chat, from the newest conversation that shows it
-- The show endpoint gives more of a lead than the list does, so it is preferred where it was asked.
create or replace temp table new_leads as
with seen as (
    select
        *,
        -- of a missing conversation, observed_at is when it was missed, not when its lead was seen
        (missing_since is null, observed_at, last_message_at, conversation_id) as seen_at,
        -- a conversation can have been given another lead since it was shown
        case when try_cast(show_payload ->> '$.lead.id' as bigint) = lead_id then show_payload -> '$.lead' end as shown,
        (shown_at, last_message_at, conversation_id) as shown_order
    from zipchat.raw_conversations
    where chat_id = $chat_id and lead_id is not null
)
select
    chat_id,
    lead_id,
    -- arg_max() passes over conversations whose payload lacks the value
    arg_max(lead_full_name, seen_at) as full_name,
    arg_max(shown ->> 'first_name', shown_order) as first_name,
    arg_max(shown ->> 'last_name', shown_order) as last_name,
    arg_max(lead_email, seen_at) as email,
    arg_max(lead_phone_number, seen_at) as phone_number,
    arg_max(lead_email_marketing_consent, seen_at) as email_marketing_consent,
    arg_max(shown ->> 'shopify_customer_id', shown_order) as shopify_customer_id,
    arg_max(
        case when json_type(shown -> 'additional_attributes') <> 'NULL'
            then shown -> 'additional_attributes' end,
        shown_order
    ) as additional_attributes,
    count(*) as conversations,
    min(created_at) as first_contact_at,
    max(last_message_at) as last_contact_at
from seen
group by chat_id, lead_id
