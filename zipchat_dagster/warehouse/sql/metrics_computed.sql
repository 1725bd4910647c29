-- grain: none yet: empty tables with the columns of escalation_metrics and activity_by_hour
create or replace temp table computed as
select * exclude (computed_at) from zipchat.escalation_metrics limit 0;
create or replace temp table computed_hours as
select * exclude (computed_at) from zipchat.activity_by_hour limit 0
