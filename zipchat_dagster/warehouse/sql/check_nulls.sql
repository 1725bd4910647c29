-- grain: one row per watched column of $table: its share of NULLs on the newest day with $least rows or
-- more, and over the $days days before
with flags as (
    select
        partition_date as day,
        unnest(['channel', 'last_message_at', 'lead_id', 'lead_email', 'share_url']) as column_name,
        unnest([
            channel is null, last_message_at is null, lead_id is null, lead_email is null, share_url is null
        ]) as is_null
    from zipchat.raw_conversations
    where $table = 'raw_conversations' and chat_id = $chat_id
    union all
    select
        partition_date,
        unnest(['role', 'message_text', 'manual_reply', 'status', 'sender_id of manual replies']),
        unnest([
            role is null, message_text is null, manual_reply is null, status is null,
            case when manual_reply then sender_id is null end
        ])
    from zipchat.raw_messages
    where $table = 'raw_messages' and chat_id = $chat_id
),
daily as (
    select column_name, day, count(is_null) as records, count_if(is_null) as nulls
    from flags
    where day is not null
    group by column_name, day
),
newest as (
    select * from daily
    where records >= $least
    qualify row_number() over (partition by column_name order by day desc) = 1
)
select
    newest.column_name,
    strftime(newest.day, '%Y-%m-%d') as day,
    newest.records,
    newest.nulls / newest.records as share,
    coalesce(sum(daily.records), 0)::bigint as records_before,
    avg(daily.nulls / daily.records) as share_before
from newest
left join daily
    on daily.column_name = newest.column_name
    and daily.day < newest.day
    and daily.day >= newest.day - $days::integer
    and daily.records > 0
group by newest.column_name, newest.day, newest.records, newest.nulls
order by newest.column_name
