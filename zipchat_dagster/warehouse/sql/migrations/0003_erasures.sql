-- From version 2. The tables erasures and suppressions are created by schema.sql.
alter table zipchat.raw_messages add column if not exists redacted_at timestamptz;
alter table zipchat.rejected_records add column if not exists conversation_id bigint;
