-- grain: one row per observation of a conversation of `changed`, which the escalations reflect now
delete from zipchat.changed_conversations
where (chat_id, conversation_id) in (select (chat_id, conversation_id) from changed)
