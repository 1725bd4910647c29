-- grain: one row per chat of `listed`, and one without a chat for all: figures from $first to $last as they stood at
-- $by, and of the conversations of the last day those begun up to the hour $hour
with escalated as (
    select
        chat_id,
        first_response_at is not null and first_response_at <= $by as is_answered,
        epoch(first_response_at) - epoch(escalated_at) as seconds,
        target_seconds is not null and (
            is_answered
            or coalesce(ended_at <= $by, false)
            or epoch($by::timestamptz) - epoch(escalated_at) >= target_seconds
        ) as is_due,
        is_due and is_answered and seconds <= target_seconds as is_in_time
    from zipchat.escalations
    inner join listed using (chat_id)
    where partition_date between $first::date and $last::date and escalated_at <= $by
),
begun as (
    select *
    from zipchat.conversation_facts
    semi join listed using (chat_id)
    where partition_date between $first::date and $last::date
        and (partition_date < $last::date or hour(timezone($timezone, created_at)) <= $hour)
),
counted as (
    select chat_id, 'escalation' as kind, is_answered, seconds, is_due, is_in_time
    from escalated
    union all by name
    select chat_id, 'conversation' as kind, escalations > 0 as is_escalated, is_automated, is_automation_pending
    from begun
)
select
    chat_id as chat,
    count(*) filter (kind = 'escalation') as escalations,
    quantile_cont(seconds, 0.5) filter (is_answered) as p50,
    count(*) filter (is_due) as due,
    count(*) filter (is_in_time) as in_time,
    count(*) filter (kind = 'conversation') as started,
    count(*) filter (is_escalated) as escalated,
    count(*) filter (is_automated) as automated,
    count(*) filter (is_automation_pending) as pending
from counted
group by grouping sets ((chat_id), ())
