-- grain: one row at most: the zone whose days partition_date holds
select value from zipchat.warehouse_settings where name = 'timezone'
