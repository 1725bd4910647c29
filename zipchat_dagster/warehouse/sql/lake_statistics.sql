-- grain: one row per text column in the lake's catalog, run by PostgreSQL: the least and the greatest value of its files
-- DuckLake only ever widens these ranges, and leaves out what a range does not hold. So NULL, after which the
-- next value written would be the whole range, is only right for a column without any value.
begin;
lock table ducklake_table_column_stats, ducklake_file_column_stats in exclusive mode;
update ducklake_table_column_stats as total
set min_value = files.min_value, max_value = files.max_value
from (
    select
        table_id,
        column_id,
        min(min_value collate "C") as min_value,
        max(max_value collate "C") as max_value
    from ducklake_column
    left join ducklake_file_column_stats using (table_id, column_id)
    where column_type in ('varchar', 'json')
    group by 1, 2
    having count(*) filter (where value_count > 0 and (min_value is null or max_value is null)) = 0
) as files
where total.table_id = files.table_id and total.column_id = files.column_id;
commit;
