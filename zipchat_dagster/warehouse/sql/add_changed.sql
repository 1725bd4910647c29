-- grain: one row per stored conversation of $table, which was just observed
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select $chat_id::bigint as chat_id, conversation_id, observed_at
from query_table($table)
where conversation_id in (select conversation_id from zipchat.raw_conversations where chat_id = $chat_id)
