-- grain: one row per escalation of the days of `days`
-- A response is due when it has come, when the target has passed, or when the escalation has ended.
create or replace temp table escalated as
select
    chosen.partition_date as day,
    chosen.conversation_id,
    coalesce(chosen.channel, 'unknown') as channel,
    -- a hand-back unassigns, so the assignee is not always seen: then it is who answered first
    coalesce(coalesce(chosen.assignee_id, chosen.first_responder_id)::varchar, 'unassigned') as agent,
    earlier.conversation_id is not null as is_reescalation,
    chosen.is_open,
    chosen.resolved_at is not null as is_resolved,
    chosen.first_response_at is not null as is_answered,
    chosen.first_response_at is not null
    or not chosen.is_open
    or epoch($now::timestamptz) - epoch(chosen.escalated_at) >= $target_seconds::double as is_due,
    chosen.first_response_seconds as response_seconds,
    chosen.first_response_seconds <= $target_seconds::double as is_in_time,
    chosen.first_response_business_seconds as response_business_seconds,
    chosen.resolution_seconds,
    chosen.resolution_business_seconds,
    chosen.is_one_touch,
    chosen.is_abandoned
from zipchat.escalations as chosen
left join (
    select conversation_id, min(escalated_at) as escalated_at
    from zipchat.escalations
    where chat_id = $chat_id
    group by conversation_id
) as earlier
    on earlier.conversation_id = chosen.conversation_id and earlier.escalated_at < chosen.escalated_at
where chosen.chat_id = $chat_id and chosen.partition_date in (select day from days)
