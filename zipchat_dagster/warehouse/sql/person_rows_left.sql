-- grain: one row: how many rows of a table are a person's, and which conversations or leads they name, at most $most
select count(*), list_sort(list(distinct {id}))[1:$most] from zipchat.{table} where {condition}
