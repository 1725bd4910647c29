-- grain: one row per escalation from $first to $last, or from before and open for a part of that; newest first
-- Links take the most room, so only the newest $listed rows have one.
select
    escalation.conversation_id as id,
    case when row_number() over newest <= $listed then conversation.share_url end as link,
    coalesce(escalation.channel, 'unknown') as channel,
    coalesce(escalation.assignee_id, escalation.first_responder_id) as agent,
    epoch(escalation.escalated_at) as at,
    -- added to `at`, it gives the local time, whose days and hours the page counts
    epoch(timezone($timezone, escalation.escalated_at)) - epoch(escalation.escalated_at) as shift,
    epoch(escalation.first_response_at) - epoch(escalation.escalated_at) as response,
    epoch(escalation.resolved_at) - epoch(escalation.escalated_at) as resolution,
    epoch(escalation.ended_at) - epoch(escalation.escalated_at) as duration
from zipchat.escalations as escalation
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
where escalation.chat_id = $chat_id
    and escalation.partition_date <= $last::date
    and escalation.escalated_at <= $now
    and (
        escalation.partition_date >= $first::date
        or coalesce(escalation.ended_at >= timezone($timezone, $first::timestamp), true)
    )
window newest as (order by escalation.escalated_at desc, escalation.conversation_id)
order by escalation.escalated_at desc, escalation.conversation_id
