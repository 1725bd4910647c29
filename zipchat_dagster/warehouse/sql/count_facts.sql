-- grain: one row: how many rows each table of facts has of the chat
select
    (select count(*) from zipchat.escalations where chat_id = $chat_id) as escalations,
    (select count(*) from zipchat.customer_turns where chat_id = $chat_id) as customer_turns,
    (select count(*) from zipchat.sla_events where chat_id = $chat_id) as sla_events,
    (select count(*) from zipchat.conversation_facts where chat_id = $chat_id) as conversation_facts
