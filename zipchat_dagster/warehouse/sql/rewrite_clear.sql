-- grain: one row per row of the chat in {table} with $after < {id} <= $through
delete from zipchat.{table} where chat_id = $chat_id and {id} > $after and {id} <= $through
