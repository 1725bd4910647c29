-- grain: one row: the newest activity stored of this chat, and since when its conversations are listed
select
    (
        select max(last_message_at) from zipchat.raw_conversations
        where chat_id = $chat_id and missing_since is null
    ) as newest_at,
    (select since from zipchat.listing_coverage where chat_id = $chat_id) as listed_since
