-- grain: one row: the number of escalations
select count(*) from zipchat.escalations
