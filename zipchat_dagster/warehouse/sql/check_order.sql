-- grain: one row per conversation of $table with times in an impossible order, at most $most
with disorder as (
    select
        conversation_id,
        'last_message_at before created_at' as problem
    from zipchat.raw_conversations
    where chat_id = $chat_id and $table = 'raw_conversations' and last_message_at < created_at
    union all
    select
        conversation_id,
        case
            when resolved_at < escalated_at then 'resolved_at before escalated_at'
            else 'first_response_at before escalated_at'
        end
    from zipchat.escalations
    where chat_id = $chat_id and $table = 'escalations' and (resolved_at < escalated_at or first_response_at < escalated_at)
    union all
    select conversation_id, 'answered_at before asked_at'
    from zipchat.customer_turns
    where chat_id = $chat_id and $table = 'customer_turns' and answered_at < asked_at
)
select
    conversation_id as offender,
    problem,
    count(*) over () as offenders
from disorder
order by conversation_id, problem
limit $most
