-- grain: one row per stored escalation of the conversations of `changed`
delete from zipchat.escalations
where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed)
