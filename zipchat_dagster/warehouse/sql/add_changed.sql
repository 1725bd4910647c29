-- grain: one row per conversation of $table, which was just stored
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select $chat_id::bigint as chat_id, conversation_id, observed_at from query_table($table)
