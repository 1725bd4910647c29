-- grain: one row per day from $first to $last, hour of the local time and channel in which conversations began
select
    partition_date::varchar as day,
    hour(timezone($timezone, created_at)) as hour,
    coalesce(channel, 'unknown') as channel,
    count(*) as started,
    count(*) filter (escalations > 0) as escalated,
    count(*) filter (human_messages > 0) as human,
    count(*) filter (escalations > 0 or human_messages > 0) as person,
    count(*) filter (is_ai_involved) as involved,
    count(*) filter (is_automated) as automated,
    count(*) filter (is_automation_pending) as pending,
    -- a repeat contact is known once the listings reach the end of its seven days
    count(*) filter (is_known) as known,
    count(*) filter (is_known and repeat_contact_at is not null) as repeated,
    -- how many conversations waited how many seconds for the AI: exact percentiles over any days
    to_json(histogram(first_ai_answer_seconds)) as answers
from (
    select
        *,
        is_automated and lead_id is not null and last_message_at + interval 7 day <= (
            select max(as_of) from zipchat.listing_coverage where chat_id = $chat_id
        ) as is_known
    from zipchat.conversation_facts
)
where chat_id = $chat_id and partition_date between $first::date and $last::date
group by all
order by all
