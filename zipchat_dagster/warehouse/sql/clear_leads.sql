-- grain: all rows; they are derived anew from raw_conversations in the same transaction
delete from zipchat.leads
