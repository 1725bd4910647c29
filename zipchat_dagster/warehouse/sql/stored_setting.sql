-- grain: one row at most: what the stored rows were last brought in line with
select value from zipchat.warehouse_settings where name = $name
