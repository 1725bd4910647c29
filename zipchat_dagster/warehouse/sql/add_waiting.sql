-- grain: one row per conversation of the chat in which time alone makes something late, abandoned or automated
-- How long something open has lasted changes all the time, and stays as of computed_at: to derive every
-- open escalation in every run would cost more than all else. None of the messages is new, so the time of
-- the observation is far in the future.
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select chat_id, conversation_id, '9999-12-31'::timestamptz
from (
    select chat_id, conversation_id
    from zipchat.conversation_facts
    where chat_id = $chat_id and is_automation_pending and last_message_at + to_hours($quiet_hours) <= $now
    union
    select chat_id, conversation_id
    from zipchat.sla_events
    where chat_id = $chat_id
        and is_active
        and (
            (breach_at < $now and not is_breached)
            or (business_breach_at < $now and not is_business_breached)
        )
    union
    select escalation.chat_id, escalation.conversation_id
    from zipchat.escalations as escalation
    inner join zipchat.conversation_facts as fact using (chat_id, conversation_id)
    where escalation.chat_id = $chat_id
        and escalation.first_response_at is null
        and not escalation.is_abandoned
        and $now::timestamptz - interval 24 hour > greatest(fact.last_customer_message_at, escalation.escalated_at)
)
