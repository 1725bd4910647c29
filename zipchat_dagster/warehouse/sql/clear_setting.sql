-- grain: one row: a setting, if it still has this value
delete from zipchat.warehouse_settings where name = $name and value = $value
