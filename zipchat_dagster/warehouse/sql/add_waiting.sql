-- grain: one row per conversation whose facts time alone changes: an open escalation, a quiet window
-- that has ended
-- None of its messages is new, so the time of the observation is far in the future.
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select chat_id, conversation_id, '9999-12-31'::timestamptz
from zipchat.conversation_facts
where is_open or (is_automation_pending and last_message_at + to_hours($quiet_hours) <= $now)
