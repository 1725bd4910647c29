-- grain: one row per class of personal data in $table: how many values of its columns are plain, are hashed with
-- the key that has $fingerprint, or are hashed with another key
with found as (
    select
        'identity' as class,
        unnest([assignee_name, lead_full_name, lead_email, lead_phone_number, share_url]) as value
    from zipchat.raw_conversations
    where $table = 'raw_conversations' and chat_id = $chat_id
    union all
    select 'content', unnest([message, message_text])
    from zipchat.raw_messages
    where $table = 'raw_messages' and chat_id = $chat_id
    union all
    select 'identity', unnest([full_name, email, avatar_url])
    from zipchat.users
    where $table = 'users' and chat_id = $chat_id
    union all
    select
        'identity',
        unnest([full_name, first_name, last_name, email, phone_number, shopify_customer_id])
    from zipchat.leads
    where $table = 'leads' and chat_id = $chat_id
    union all
    select 'attributes', additional_attributes ->> '$'
    from zipchat.leads
    where $table = 'leads' and chat_id = $chat_id
)
select
    class,
    count_if(hashed_with = '' and trim(value) <> '') as plain,
    count_if(hashed_with = $fingerprint) as hashed,
    count_if(hashed_with not in ('', $fingerprint)) as hashed_with_another_key
from (select *, regexp_extract(value, '^h\d+:([0-9a-f]{4}):[0-9a-f]{64}$', 1) as hashed_with from found)
where value is not null
group by class
order by class
