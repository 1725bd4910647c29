-- grain: one row per channel with a message or an escalation from $first to $last
with escalated as (
    select conversation_id, coalesce(channel, 'unknown') as channel
    from zipchat.escalations
    where chat_id = $chat_id
        and partition_date between $first::date and $last::date
        and escalated_at <= $now
),
active as (
    select
        message.conversation_id,
        coalesce(conversation.channel, 'unknown') as channel
    from zipchat.raw_messages as message
    left join zipchat.raw_conversations as conversation
        on conversation.chat_id = message.chat_id and conversation.conversation_id = message.conversation_id
    where message.chat_id = $chat_id
        and message.partition_date between $first::date and $last::date
        and message.created_at <= $now
    union
    select conversation_id, channel from escalated
),
active_by as (
    select channel, count(*) as conversations_active from active group by channel
),
escalated_by as (
    select channel, count(*) as escalations, count(distinct conversation_id) as escalated_conversations
    from escalated
    group by channel
)
select
    channel,
    conversations_active,
    coalesce(escalations, 0) as escalations,
    coalesce(escalated_conversations, 0) as escalated_conversations,
    coalesce(escalated_conversations, 0) / conversations_active as escalation_rate
from active_by
left join escalated_by using (channel)
order by escalations desc, conversations_active desc, channel
