-- grain: at most one row: what is complete of this chat's conversations
select since, as_of from zipchat.listing_coverage where chat_id = $chat_id
