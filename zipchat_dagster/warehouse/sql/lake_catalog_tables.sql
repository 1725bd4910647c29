-- grain: one row per table of the lake's catalog, run by PostgreSQL
select quote_ident(table_name)
from information_schema.tables
where table_schema = current_schema() and starts_with(table_name, 'ducklake_')
