-- grain: one row if the last listing showed fewer conversations than the API stated
select
    chat_id as offender,
    stated_total as stated,
    listed_total as listed,
    count(*) over () as offenders
from zipchat.listing_coverage
where chat_id = $chat_id and stated_total > listed_total
order by offender
limit $most
