-- grain: one row per conversation that began from $first to $last, newest first, the newest $listed of them
select
    fact.conversation_id as id,
    conversation.share_url as link,
    coalesce(fact.channel, 'unknown') as channel,
    epoch(fact.created_at) as at,
    epoch(timezone($timezone, fact.created_at)) - epoch(fact.created_at) as shift,
    fact.first_ai_answer_seconds as answer,
    coalesce(fact.escalations > 0, false)::int as escalated,
    coalesce(fact.human_messages > 0, false)::int as human,
    coalesce(fact.is_ai_involved, false)::int as involved,
    coalesce(fact.is_automated, false)::int as automated,
    coalesce(fact.is_automation_pending, false)::int as pending,
    -- as in report_starts.sql
    coalesce(fact.is_automated and fact.repeat_contact_at is not null and fact.last_message_at + interval 7 day <= (
        select max(as_of) from zipchat.listing_coverage where chat_id = $chat_id
    ), false)::int as repeated
from zipchat.conversation_facts as fact
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
where fact.chat_id = $chat_id and fact.partition_date between $first::date and $last::date
order by fact.created_at desc, fact.conversation_id
limit $listed
