-- grain: one row per conversation whose facts are missing, or count what is not stored, at most $most
with counted as (
    select conversation_id, 'messages' as what, count(*) as stored
    from zipchat.raw_messages
    where chat_id = $chat_id and created_at is not null and (manual_reply or role in ('user', 'assistant'))
    group by all
    union all
    select conversation_id, 'turns', count(*) from zipchat.customer_turns where chat_id = $chat_id group by all
    union all
    select conversation_id, 'escalations', count(*) from zipchat.escalations where chat_id = $chat_id group by all
),
stated as (
    unpivot (
        select
            conversation_id,
            customer_messages + ai_messages + human_messages as messages,
            customer_turns as turns,
            escalations
        from zipchat.conversation_facts
        where chat_id = $chat_id
    )
    on messages, turns, escalations
    into name what value stated
),
expected as (
    select conversation_id, what, coalesce(stored, 0) as stored
    from zipchat.raw_conversations
    cross join (values ('messages'), ('turns'), ('escalations')) as counts (what)
    left join counted using (conversation_id, what)
    -- what is stored but not derived yet
    anti join zipchat.changed_conversations using (chat_id, conversation_id)
    where chat_id = $chat_id
)
select
    conversation_id as offender,
    what,
    stated,
    stored,
    count(*) over () as offenders
from expected
left join stated using (conversation_id, what)
where stated is distinct from stored
order by offender, what
limit $most
