-- grain: one row per row of the chat in {table} with $after < {id} <= $through
select {id} as id, epoch_us(observed_at) as seen, {columns}
from zipchat.{table}
where chat_id = $chat_id and {id} > $after and {id} <= $through
