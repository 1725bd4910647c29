-- grain: one row per value of the chat by which records of erased people are recognized
select value_hash, erasure_id from zipchat.suppressions where chat_id = $chat_id
