-- grain: one row: how complete what is stored of a chat is, and what of it cannot be replayed
select
    (select since from zipchat.listing_coverage where chat_id = $chat_id) as complete_since,
    coalesce(
        (select as_of from zipchat.listing_coverage where chat_id = $chat_id),
        (select max(observed_at) from zipchat.users where chat_id = $chat_id),
        (select max(observed_at) from zipchat.raw_conversations where chat_id = $chat_id)
    ) as as_of,
    (select count(*) from zipchat.rejected_records where chat_id = $chat_id) as rejected,
    (
        select count(*) from zipchat.raw_conversations
        where chat_id = $chat_id and missing_since is not null
    ) as missing
