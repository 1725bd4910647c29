-- grain: one row per day of `days` and escalation that was open when it ended (now, if it has not)
-- A difference of epochs: DuckDB takes microseconds for one of timestamptz, which is a second here.
create or replace temp table waiting as
with moments as (
    -- just after now: what ends now is over, what begins now is open
    select day, ends_at, least(ends_at, $now::timestamptz + interval 1 microsecond) as at
    from days
    where starts_at <= $now
),
known as (
    select
        coalesce(channel, 'unknown') as channel,
        coalesce(coalesce(assignee_id, first_responder_id)::varchar, 'unassigned') as agent,
        escalated_at,
        coalesce(ended_at, 'infinity') as ended_at
    from zipchat.escalations
    where chat_id = $chat_id
)
select
    moments.day,
    known.channel,
    known.agent,
    epoch(least(moments.ends_at, $now)) - epoch(known.escalated_at) as age_seconds
from moments
inner join known on known.escalated_at < moments.at and known.ended_at >= moments.at
