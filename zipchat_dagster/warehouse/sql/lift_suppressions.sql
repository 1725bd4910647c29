-- grain: one row per suppressed value of the erasures that $value_hash belongs to
delete from zipchat.suppressions
where chat_id = $chat_id
    and erasure_id in (
        select erasure_id from zipchat.suppressions
        where chat_id = $chat_id and value_hash = $value_hash
    )
