-- grain: one row at most: a row of a Parquet file that holds a text of `words`
select true
from read_parquet($address) as stored
where exists (from words where contains(to_json(stored)::varchar, words.word))
limit 1
