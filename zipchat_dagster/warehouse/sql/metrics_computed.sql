-- grain: none yet: an empty table with the columns of escalation_metrics, in their order
create or replace temp table computed as
select * exclude (computed_at) from zipchat.escalation_metrics limit 0
