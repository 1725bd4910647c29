-- grain: one row: the first chat of {table} with a number above $after, NULL if there is none
select min(chat_id) from zipchat.{table} where chat_id > $after
