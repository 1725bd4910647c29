-- grain: all rows of the chat; they are derived anew from raw_conversations in the same transaction
delete from zipchat.leads where chat_id = $chat_id
