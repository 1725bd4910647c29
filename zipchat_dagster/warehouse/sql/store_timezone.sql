-- grain: one row: the zone whose days partition_date holds from now on
merge into zipchat.warehouse_settings as known
using (select 'timezone' as name, $timezone as value) as new
on known.name = new.name
when matched then update set value = new.value
when not matched then insert (name, value) values (new.name, new.value)
