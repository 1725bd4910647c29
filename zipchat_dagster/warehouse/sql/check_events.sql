-- grain: one row per escalation without its first response or resolution in sla_events, or event without
-- its escalation, at most $most
with held as (
    select
        conversation_id,
        escalated_at,
        count(*) filter (metric = 'first_response') as first_responses,
        count(*) filter (metric = 'resolution') as resolutions
    from zipchat.sla_events
    where chat_id = $chat_id
    group by all
)
select
    conversation_id as offender,
    strftime(escalated_at, '%Y-%m-%dT%H:%M:%SZ') as escalated_at,
    count(*) over () as offenders
from held
full join (from zipchat.escalations where chat_id = $chat_id) as escalation using (conversation_id, escalated_at)
where escalation.chat_id is null or (first_responses, resolutions) is distinct from (1, 1)
order by offender, escalated_at
limit $most
