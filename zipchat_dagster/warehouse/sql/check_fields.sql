-- grain: one row per kind of record in $table and field of it; the row with field '' counts the records
-- recent: among records read in the last two days; earlier: among those read before. A record's
-- fields are grouped as a list first: there are few different lists, and a million records.
with records as (
    select 'conversation' as kind, payload as record, observed_at
    from zipchat.raw_conversations where chat_id = $chat_id and $table = 'raw_conversations' and missing_since is null
    union all
    select 'conversation', show_payload, shown_at
    from zipchat.raw_conversations where chat_id = $chat_id and $table = 'raw_conversations'
    union all
    select 'lead', payload -> 'lead', observed_at
    from zipchat.raw_conversations where chat_id = $chat_id and $table = 'raw_conversations' and missing_since is null
    union all
    select 'shown lead', show_payload -> 'lead', shown_at
    from zipchat.raw_conversations where chat_id = $chat_id and $table = 'raw_conversations'
    union all
    select 'assignee', payload -> 'assignee', observed_at
    from zipchat.raw_conversations where chat_id = $chat_id and $table = 'raw_conversations' and missing_since is null
    union all
    select 'message', payload, observed_at from zipchat.raw_messages where chat_id = $chat_id and $table = 'raw_messages'
    union all
    select 'user', payload, observed_at from zipchat.users where chat_id = $chat_id and $table = 'users'
),
shapes as (
    select
        kind,
        list_append(json_keys(record), '') as fields,
        observed_at >= (select max(observed_at) from records) - interval 2 day as is_recent,
        count(*) as records
    from records
    where json_type(record) = 'OBJECT'
    group by kind, fields, is_recent
),
named as (
    select kind, unnest(fields) as field, is_recent, records from shapes
)
select
    kind,
    field,
    coalesce(sum(records) filter (is_recent), 0)::bigint as recent,
    coalesce(sum(records) filter (not is_recent), 0)::bigint as earlier
from named
group by kind, field
order by kind, field
