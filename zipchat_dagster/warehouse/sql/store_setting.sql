-- grain: one row: what the stored rows are in line with from now on
merge into zipchat.warehouse_settings as known
using (select $name as name, $value as value) as new
on known.name = new.name
when matched then update set value = new.value
when not matched then insert by name
