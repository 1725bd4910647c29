-- grain: one row per e-mail address and phone number that was ever seen
select distinct email, phone_number from sightings where email is not null or phone_number is not null
