-- grain: one row at most: a row of a Parquet file that matches a pattern
select true
from read_parquet($address) as stored
where regexp_matches(to_json(stored)::varchar, $pattern)
limit 1
