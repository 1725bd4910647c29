-- grain: one row per customer who waits for a person's answer now, the longest wait first
select
    conversation_id as id,
    share_url as link,
    coalesce(channel, 'unknown') as channel,
    agent_id as agent,
    (waiting_for = 'next_response')::int as is_next,
    epoch(waiting_since) as at,
    epoch(breach_at) as breach_at,
    epoch(timezone($timezone, waiting_since)) - epoch(waiting_since) as shift
from zipchat.escalations_waiting
-- who was answered and has not written since waits for nothing but the resolution
where chat_id = $chat_id and waiting_for in ('first_response', 'next_response')
order by waiting_since, conversation_id
