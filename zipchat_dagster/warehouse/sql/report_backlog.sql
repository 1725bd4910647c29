-- grain: one row per bucket of age, youngest first, with the escalations open at $now
with waiting as (
    select
        epoch($now::timestamptz) - epoch(escalated_at) as age_seconds,
        coalesce(first_response_at <= $now, false) as is_answered
    from zipchat.escalations
    where chat_id = $chat_id and escalated_at < $now and coalesce(ended_at >= $now, true)
)
select
    label as age,
    count(age_seconds) as open_now,
    count(age_seconds) filter (not is_answered) as unanswered
from (
    values
        (0, 3600, '< 1 h'),
        (3600, 14400, '1–4 h'),
        (14400, 86400, '4–24 h'),
        (86400, 259200, '1–3 d'),
        (259200, 604800, '3–7 d'),
        (604800, 'infinity'::double, 'older')
) as bucket (from_seconds, to_seconds, label)
left join waiting on age_seconds >= from_seconds and age_seconds < to_seconds
group by label, from_seconds
order by from_seconds
