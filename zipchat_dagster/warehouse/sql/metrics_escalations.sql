-- grain: one row per escalation of the days of `days`
-- A response is due when it has come, when the target has passed, or when the escalation has ended.
create or replace temp table escalated as
with chosen as (
    select
        *,
        coalesce(channel, 'unknown') as known_channel,
        -- a hand-back unassigns, so the assignee is not always seen: then it is who answered first
        coalesce(coalesce(assignee_id, first_responder_id)::varchar, 'unassigned') as agent,
        first_response_at is not null as is_answered,
        epoch(first_response_at) - epoch(escalated_at) as response_seconds
    from zipchat.escalations
    where chat_id = $chat_id and partition_date in (select day from days)
),
in_business as (
    select
        chosen.conversation_id,
        chosen.escalated_at,
        sum(
            epoch(least(chosen.first_response_at, hours.closes_at))
            - epoch(greatest(chosen.escalated_at, hours.opens_at))
        ) as seconds
    from chosen
    inner join business_hours as hours
        on hours.opens_at < chosen.first_response_at and hours.closes_at > chosen.escalated_at
    group by all
)
select
    chosen.partition_date as day,
    chosen.conversation_id,
    chosen.known_channel as channel,
    chosen.agent,
    earlier.conversation_id is not null as is_reescalation,
    chosen.is_open,
    chosen.resolved_at is not null as is_resolved,
    chosen.is_answered,
    chosen.is_answered
    or not chosen.is_open
    or epoch($now::timestamptz) - epoch(chosen.escalated_at) >= $target_seconds::double as is_due,
    chosen.response_seconds,
    chosen.response_seconds <= $target_seconds::double as is_in_time,
    case when $has_business_hours and chosen.is_answered then coalesce(in_business.seconds, 0) end as response_business_seconds,
    epoch(chosen.resolved_at) - epoch(chosen.escalated_at) as resolution_seconds
from chosen
left join in_business
    on in_business.conversation_id = chosen.conversation_id and in_business.escalated_at = chosen.escalated_at
left join (
    select conversation_id, min(escalated_at) as escalated_at
    from zipchat.escalations
    where chat_id = $chat_id
    group by conversation_id
) as earlier
    on earlier.conversation_id = chosen.conversation_id and earlier.escalated_at < chosen.escalated_at
