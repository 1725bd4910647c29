-- grain: one row per channel with a message or an escalation from $first to $last
with active as (
    select distinct
        message.conversation_id,
        coalesce(conversation.channel, 'unknown') as channel
    from zipchat.raw_messages as message
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = message.chat_id and conversation.conversation_id = message.conversation_id
    where message.chat_id = $chat_id
        and message.partition_date between $first::date and $last::date
        and message.created_at <= $now
),
active_by as (
    select channel, count(*) as conversations_active from active group by channel
),
escalated_by as (
    select
        coalesce(channel, 'unknown') as channel,
        count(*) as escalations,
        count(distinct conversation_id) as escalated_conversations
    from zipchat.escalations
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and escalated_at <= $now
    group by all
)
select
    channel,
    coalesce(conversations_active, 0) as conversations_active,
    coalesce(escalations, 0) as escalations,
    coalesce(escalated_conversations, 0) as escalated_conversations,
    coalesce(escalated_conversations, 0) / nullif(conversations_active, 0) as escalation_rate
from active_by
full join escalated_by using (channel)
order by escalations desc, conversations_active desc, channel
