-- grain: one row per conversation of `gone` that was just marked, whose change of state is that the API no longer shows it
insert into zipchat.conversation_history by name
select
    chat_id, conversation_id, channel, manual_reply_mode, last_escalated_at,
    last_escalation_resolved_at, assignee_id, assignee_name, missing_since, missing_since as observed_at
from zipchat.raw_conversations
where chat_id = $chat_id and missing_since = $at and conversation_id in (select conversation_id from gone)
