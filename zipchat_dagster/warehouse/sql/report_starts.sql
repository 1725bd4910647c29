-- grain: one row per day from $first to $last on which conversations began, and channel
select
    partition_date::varchar as day,
    coalesce(channel, 'unknown') as channel,
    count(*) as started,
    count(*) filter (escalations > 0) as escalated,
    count(*) filter (human_messages > 0) as human,
    count(*) filter (escalations > 0 or human_messages > 0) as person,
    count(*) filter (is_ai_involved) as involved,
    count(*) filter (is_automated) as automated,
    count(*) filter (is_automation_pending) as pending,
    count(*) filter (is_automated and lead_id is not null) as known,
    count(*) filter (is_automated and repeat_contact_at is not null) as repeated,
    count(*) filter (is_complete is not true) as incomplete,
    -- how many conversations waited how many seconds for the AI: exact percentiles over any days
    to_json(histogram(first_ai_answer_seconds)) as answers
from zipchat.conversation_facts
where chat_id = $chat_id and partition_date between $first::date and $last::date
group by all
order by all
