-- grain: one row per customer turn of `turns`
create or replace temp table new_customer_turns as
select
    turns.* exclude (first_message_id, is_replied),
    cast(timezone($timezone, turns.asked_at) as date) as partition_date,
    conversation.channel,
    epoch(turns.answered_at) - epoch(turns.asked_at) as answer_seconds,
    case when turns.answered_by = 'human' then answered.seconds - asked.seconds end as answer_business_seconds,
    $now::timestamptz as computed_at
from turns
left join zipchat.raw_conversations as conversation using (chat_id, conversation_id)
left join clock as asked on asked.at = turns.asked_at
left join clock as answered on answered.at = turns.answered_at
