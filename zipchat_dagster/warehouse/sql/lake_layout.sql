-- grain: one statement per table that a backfill fills and metrics read by day
-- Messages of one chat and month are together, so that a day's metrics read one month's files.
alter table zipchat.raw_messages set partitioned by (chat_id, year(partition_date), month(partition_date));
alter table zipchat.raw_messages set sorted by (conversation_id, message_id);
