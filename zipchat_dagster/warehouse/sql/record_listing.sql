-- grain: one row per chat; the longer past and the newer end win
merge into zipchat.listing_coverage as known
using (
    select $chat_id::bigint as chat_id, $since::timestamptz as since, $as_of::timestamptz as as_of,
        $stated_total::bigint as stated_total, $listed_total::bigint as listed_total
) as listed
on known.chat_id = listed.chat_id
when matched and listed.as_of >= known.as_of then update set
    since = least(known.since, listed.since),
    as_of = listed.as_of,
    stated_total = listed.stated_total,
    listed_total = listed.listed_total
when not matched then insert by name
