-- grain: one row per customer turn of the conversations of `changed`
-- is_replied: whether a person answered while the escalation of asked_at still ran.
create or replace temp table turns as
with spoken as (
    select
        *,
        author = 'customer' as is_customer,
        lag(author) over (partition by chat_id, conversation_id order by number) as previous
    from messages
    -- while a person has the conversation, the AI does not answer
    where author in ('customer', 'human') or (author = 'ai' and escalated_at is null)
),
numbered as (
    select
        *,
        count(*) filter (is_customer and previous is distinct from 'customer') over (
            partition by chat_id, conversation_id order by number
        ) as turn
    from spoken
)
select
    chat_id,
    conversation_id,
    turn,
    min(created_at) as asked_at,
    arg_min(message_id, number) as first_message_id,
    arg_min_null(escalated_at, number) as escalated_at,
    count(*) filter (is_customer) as customer_messages,
    min(created_at) filter (not is_customer) as answered_at,
    arg_min(author, number) filter (not is_customer) as answered_by,
    arg_min_null(case when author = 'human' then sender_id end, number) filter (not is_customer) as sender_id,
    coalesce(
        arg_min_null(escalated_at, number) filter (not is_customer) = arg_min_null(escalated_at, number), false
    ) as is_replied
from numbered
where turn > 0
group by chat_id, conversation_id, turn
