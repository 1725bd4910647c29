-- grain: one row per stored lead of the chat that is not as in `new_leads`
-- Most leads stay as they are, and writing all of them again would cost more than finding the others.
delete from zipchat.leads as old
using (from zipchat.leads where chat_id = $chat_id except from new_leads) as gone
where old.chat_id = gone.chat_id and old.lead_id = gone.lead_id
