-- grain: one row: how many rows each table of facts has
select
    (select count(*) from zipchat.escalations) as escalations,
    (select count(*) from zipchat.customer_turns) as customer_turns,
    (select count(*) from zipchat.sla_events) as sla_events,
    (select count(*) from zipchat.conversation_facts) as conversation_facts
