-- grain: one row per table that is partitioned
select table_id from __ducklake_metadata_warehouse.ducklake_partition_info where end_snapshot is null
