-- grain: one row of the table: the newest five, in the columns without personal data
select {columns}
from zipchat.{table}
where chat_id = $chat_id
order by {newest} desc nulls last
limit 5
