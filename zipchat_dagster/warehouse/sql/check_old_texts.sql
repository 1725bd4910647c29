-- grain: one row per message written before $before whose text is there, at most $most
select
    message_id as offender,
    strftime(coalesce(created_at, observed_at), '%Y-%m-%dT%H:%M:%SZ') as written_at,
    count(*) over () as offenders
from zipchat.raw_messages
where chat_id = $chat_id
    and coalesce(created_at, observed_at) < $before::timestamptz
    and (redacted_at is null or message is not null or message_text is not null)
order by written_at, offender
limit $most
