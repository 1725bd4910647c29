-- grain: one row per class of personal data in {table}: how many values of its columns are plain, are hashed with
-- the key that has $fingerprint, or are hashed with another key
with found as (
    select unnest([{classes}]) as class, unnest([{values}]) as value
    from zipchat.{table}
    where chat_id = $chat_id
)
select
    class,
    count_if(hashed_with = '' and trim(value) <> '') as plain,
    count_if(hashed_with = $fingerprint) as hashed,
    count_if(hashed_with not in ('', $fingerprint)) as hashed_with_another_key
from (select *, regexp_extract(value, '^h\d+:([0-9a-f]{{4}}):[0-9a-f]{{64}}$', 1) as hashed_with from found)
where value is not null
group by class
order by class
