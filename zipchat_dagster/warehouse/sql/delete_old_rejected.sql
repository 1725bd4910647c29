-- grain: one row per message without a usable id that was read before $before
delete from zipchat.rejected_records where kind = 'message' and observed_at < $before
