-- grain: one row of the table; the newest five, in the columns that hold no personal data
select {columns}
from zipchat.{table}
order by {newest} desc nulls last
limit 5
