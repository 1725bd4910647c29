-- From version 0, when no version was stored. The new columns are filled when the rows are next derived.
alter table zipchat.escalations add column if not exists ended_at timestamptz;
alter table zipchat.escalation_metrics add column if not exists pending_within_target bigint;
