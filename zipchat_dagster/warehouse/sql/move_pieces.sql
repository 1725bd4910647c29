-- grain: one row per piece of a table, which is a day or all of it; every value counts for content
select
    {piece} as piece,
    count(*) as row_count,
    sum(hash({columns})) as content
from {catalog}.zipchat.{table}
group by all
