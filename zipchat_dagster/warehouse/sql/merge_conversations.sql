-- grain: one row per conversation of `observed`; an older observation never replaces a newer one
merge into zipchat.raw_conversations as known
using observed
on known.chat_id = observed.chat_id and known.conversation_id = observed.conversation_id
when matched and observed.observed_at >= known.observed_at then update set
    partition_date = observed.partition_date,
    created_at = observed.created_at,
    last_message_at = observed.last_message_at,
    channel = observed.channel,
    manual_reply_mode = observed.manual_reply_mode,
    last_escalated_at = observed.last_escalated_at,
    last_escalation_resolved_at = observed.last_escalation_resolved_at,
    assignee_id = observed.assignee_id,
    assignee_name = observed.assignee_name,
    lead_id = observed.lead_id,
    lead_full_name = observed.lead_full_name,
    lead_email = observed.lead_email,
    lead_phone_number = observed.lead_phone_number,
    lead_email_marketing_consent = observed.lead_email_marketing_consent,
    share_url = observed.share_url,
    missing_since = null,
    payload = case when observed.is_show then known.payload else observed.payload end,
    show_payload = case when observed.is_show then observed.payload else known.show_payload end,
    shown_at = case when observed.is_show then observed.observed_at else known.shown_at end,
    observed_at = observed.observed_at
when not matched then insert (
    chat_id, conversation_id, partition_date, created_at, last_message_at, channel, manual_reply_mode,
    last_escalated_at, last_escalation_resolved_at, assignee_id, assignee_name,
    lead_id, lead_full_name, lead_email, lead_phone_number, lead_email_marketing_consent,
    share_url, missing_since, payload, show_payload, shown_at, observed_at
) values (
    observed.chat_id, observed.conversation_id, observed.partition_date, observed.created_at,
    observed.last_message_at, observed.channel, observed.manual_reply_mode,
    observed.last_escalated_at, observed.last_escalation_resolved_at, observed.assignee_id, observed.assignee_name,
    observed.lead_id, observed.lead_full_name, observed.lead_email, observed.lead_phone_number,
    observed.lead_email_marketing_consent, observed.share_url, null, observed.payload,
    case when observed.is_show then observed.payload end,
    case when observed.is_show then observed.observed_at end,
    observed.observed_at
)
