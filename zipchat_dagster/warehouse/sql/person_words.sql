-- grain: one row per text by which the person could be found again, besides e-mail addresses and phone numbers
-- Names and messages are left out where others' rows hold them too: finding those would prove nothing.
with shown as (
    select conversation_id, share_url, unnest([payload, show_payload]) as record
    from zipchat.raw_conversations
    where chat_id = $chat_id and conversation_id in (select conversation_id from erased)
),
links as (
    select unnest([share_url, record ->> '$.share_url']) as word from shown
),
leads as (
    select record -> '$.lead' as lead
    from shown
    where try_cast(record ->> '$.lead.id' as bigint) in (select lead_id from erased_leads)
),
names as (
    select lead ->> 'full_name' as word from leads
    union
    select full_name from zipchat.leads where chat_id = $chat_id and lead_id in (select lead_id from erased_leads)
),
written as (
    select left(message_text, $longest) as word
    from zipchat.raw_messages
    where chat_id = $chat_id
        and conversation_id in (select conversation_id from erased)
        and role = 'user'
    group by word
    order by length(word) desc, word
    limit $most_texts
),
others as (
    select message_text as text
    from zipchat.raw_messages
    where chat_id <> $chat_id or conversation_id not in (select conversation_id from erased)
    union all
    select payload::varchar
    from zipchat.raw_conversations
    where chat_id <> $chat_id or conversation_id not in (select conversation_id from erased)
    union all
    select full_name from zipchat.users
),
weak as (
    select word
    from (from names union from written)
    where not exists (from others where contains(others.text, word))
)
select word
from (
    from links
    union
    select lead ->> 'shopify_customer_id' from leads
    union
    from weak
)
where length(word) >= $shortest
