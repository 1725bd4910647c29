-- grain: one row per stored fact about a conversation of `changed`, replaced by the new ones
delete from zipchat.escalations where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed);
delete from zipchat.customer_turns where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed);
delete from zipchat.sla_events where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed);
delete from zipchat.conversation_facts where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed);
delete from zipchat.changed_conversations where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed);
insert into zipchat.escalations by name from new_escalations;
insert into zipchat.customer_turns by name from new_customer_turns;
insert into zipchat.sla_events by name from new_sla_events;
insert into zipchat.conversation_facts by name from new_conversation_facts;
