-- grain: one row per escalation of the conversations of `changed`
insert into zipchat.escalations by name from derived
