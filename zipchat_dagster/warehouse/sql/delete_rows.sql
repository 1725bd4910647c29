-- grain: one row per row of a table that is to go
delete from zipchat.{table} where {condition}
