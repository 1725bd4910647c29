-- grain: one row per lead, from the newest conversation that shows it
-- The show endpoint gives more of a lead than the list does, so it is preferred where it was asked.
insert into zipchat.leads (
    chat_id, lead_id, full_name, first_name, last_name, email, phone_number, email_marketing_consent,
    shopify_customer_id, additional_attributes, conversations, first_contact_at, last_contact_at
)
with newest as (
    select
        chat_id,
        lead_id,
        -- arg_max() passes over conversations whose payload lacks the value
        arg_max(lead_full_name, observed_at) as full_name,
        arg_max(show_payload ->> '$.lead.first_name', shown_at) as first_name,
        arg_max(show_payload ->> '$.lead.last_name', shown_at) as last_name,
        arg_max(lead_email, observed_at) as email,
        arg_max(lead_phone_number, observed_at) as phone_number,
        arg_max(lead_email_marketing_consent, observed_at) as email_marketing_consent,
        arg_max(show_payload ->> '$.lead.shopify_customer_id', shown_at) as shopify_customer_id,
        arg_max(
            case when json_type(show_payload -> '$.lead.additional_attributes') <> 'NULL'
                then show_payload -> '$.lead.additional_attributes' end,
            shown_at
        ) as additional_attributes,
        count(*) as conversations,
        min(created_at) as first_contact_at,
        max(last_message_at) as last_contact_at
    from zipchat.raw_conversations
    where lead_id is not null
    group by chat_id, lead_id
)
select * from newest
