-- grain: one row: the greatest {id} of the chat's next $most rows of {table}, NULL if there are none
select max(id)
from (select {id} as id from zipchat.{table} where chat_id = $chat_id and {id} > $after order by id limit $most)
