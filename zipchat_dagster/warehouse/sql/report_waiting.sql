-- grain: one row per customer who waits for a person's answer at $now, the longest wait first
select
    event.conversation_id as id,
    conversation.share_url as link,
    coalesce(event.channel, 'unknown') as channel,
    event.agent_id as agent,
    event.metric = 'next_response' as is_next,
    epoch(event.starts_at) as at,
    epoch(timezone($timezone, event.starts_at)) - epoch(event.starts_at) as shift
from zipchat.sla_events as event
left join zipchat.raw_conversations as conversation
    on conversation.chat_id = event.chat_id and conversation.conversation_id = event.conversation_id
where event.chat_id = $chat_id
    and event.is_active
    and event.metric in ('first_response', 'next_response')
    and event.starts_at <= $now
order by event.starts_at, event.conversation_id
