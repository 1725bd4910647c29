-- grain: one row per table of this database
select table_name from information_schema.tables
where table_catalog = current_database() and table_schema = 'zipchat' and table_type = 'BASE TABLE'
