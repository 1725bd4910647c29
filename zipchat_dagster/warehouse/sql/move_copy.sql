-- grain: one row per record of a piece
insert into zipchat.{table} by name
select {columns} from {catalog}.zipchat.{table} where {condition}
