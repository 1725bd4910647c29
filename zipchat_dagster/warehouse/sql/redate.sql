-- grain: one row per record whose day in $timezone is not its partition_date (after a change of zone)
update zipchat.{table}
set partition_date = cast(timezone($timezone, {moment}) as date)
where partition_date is distinct from cast(timezone($timezone, {moment}) as date)
