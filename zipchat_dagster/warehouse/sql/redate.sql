-- grain: one row per record; its day in $timezone becomes its partition
update zipchat.{table}
set partition_date = cast(timezone($timezone, created_at) as date)
where partition_date is distinct from cast(timezone($timezone, created_at) as date)
