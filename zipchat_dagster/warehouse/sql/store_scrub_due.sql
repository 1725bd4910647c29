-- grain: one row: since when something deleted is in the files, and if more followed, since when the newest is
merge into zipchat.warehouse_settings as known
using (select $name as name, $now as value) as new
on known.name = new.name
when matched then update set value = concat_ws(' ', split_part(known.value, ' ', 1), new.value)
when not matched then insert by name
