-- grain: one row per sighting that shows one of the leads, e-mail addresses or phone numbers of `known`
select distinct conversation_id, lead_id, email, phone_number
from sightings
where lead_id::varchar in (select value from known where kind = 'lead_id')
    or email in (select value from known where kind = 'email')
    or phone_number in (select value from known where kind = 'phone_number')
order by all
