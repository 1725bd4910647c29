-- grain: one row per stored fact about a conversation of `changed`, replaced by the new ones
delete from zipchat.escalations as old using changed where old.chat_id = changed.chat_id and old.conversation_id = changed.conversation_id;
delete from zipchat.customer_turns as old using changed where old.chat_id = changed.chat_id and old.conversation_id = changed.conversation_id;
delete from zipchat.sla_events as old using changed where old.chat_id = changed.chat_id and old.conversation_id = changed.conversation_id;
delete from zipchat.conversation_facts as old using changed where old.chat_id = changed.chat_id and old.conversation_id = changed.conversation_id;
delete from zipchat.changed_conversations as old using changed where old.chat_id = changed.chat_id and old.conversation_id = changed.conversation_id;
insert into zipchat.escalations by name from new_escalations;
insert into zipchat.customer_turns by name from new_customer_turns;
insert into zipchat.sla_events by name from new_sla_events;
insert into zipchat.conversation_facts by name from new_conversation_facts;
