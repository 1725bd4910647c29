-- grain: one row per message of the conversations of `changed`
-- number: its number in the conversation. escalated_at: the escalation that runs when it is written;
-- a reply in the second of the end still belongs to it.
create or replace temp table messages as
with written as (
    select
        chat_id,
        conversation_id,
        message_id,
        created_at,
        sender_id,
        case when manual_reply then 'human' when role = 'user' then 'customer' when role = 'assistant' then 'ai' end as author
    from zipchat.raw_messages
    semi join changed using (chat_id, conversation_id)
    where created_at is not null
)
select
    written.*,
    row_number() over (
        partition by written.chat_id, written.conversation_id order by written.created_at, written.message_id
    ) as number,
    case
        when spans.ended_at is null
            or written.created_at < spans.ended_at
            or (written.created_at = spans.ended_at and written.author = 'human')
            then spans.escalated_at
    end as escalated_at
from written
asof left join spans
    on spans.chat_id = written.chat_id
    and spans.conversation_id = written.conversation_id
    and spans.escalated_at <= written.created_at
