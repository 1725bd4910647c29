-- grain: one row at most: a row of a table of the lake's catalog that contains one of several texts, run by PostgreSQL
select true
from {table} as stored
where exists (select from unnest(%s::text[]) as words (word) where strpos(stored::text, word) > 0)
limit 1
