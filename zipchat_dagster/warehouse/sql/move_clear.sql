-- grain: one row per record of a piece, which is deleted
delete from zipchat.{table} where {piece}
