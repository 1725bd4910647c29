-- grain: one row: how many rows of a table are a person's
select count(*) from zipchat.{table} where {condition}
