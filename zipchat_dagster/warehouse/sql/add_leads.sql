-- grain: one row per lead of `new_leads` that is not stored, after `clear_leads`
insert into zipchat.leads by name (from new_leads except from zipchat.leads where chat_id = $chat_id)
