-- grain: one row per row of a table that is a person's
delete from zipchat.{table} where {condition}
