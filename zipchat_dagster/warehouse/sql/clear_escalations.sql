-- grain: all rows; they are derived anew from the history in the same transaction
delete from zipchat.escalations
