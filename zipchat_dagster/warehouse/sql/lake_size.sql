-- grain: one row: what the newest snapshot of the lake consists of
select
    coalesce(sum(file_count), 0)::bigint as data_files,
    coalesce(sum(delete_file_count), 0)::bigint as delete_files,
    coalesce(sum(file_size_bytes + delete_file_size_bytes), 0)::bigint as bytes,
    (select count(*) from ducklake_snapshots('warehouse')) as snapshots
from ducklake_table_info('warehouse')
