-- grain: one row per conversation of `observed` whose state differs from the one that is known
merge into zipchat.conversation_history as history
using (
    select observed.*
    from observed
    left join zipchat.raw_conversations as known
        on known.chat_id = observed.chat_id and known.conversation_id = observed.conversation_id
    where known.conversation_id is null
        or (
            observed.observed_at >= known.observed_at
            and (
                observed.channel is distinct from known.channel
                or observed.manual_reply_mode is distinct from known.manual_reply_mode
                or observed.last_escalated_at is distinct from known.last_escalated_at
                or observed.last_escalation_resolved_at is distinct from known.last_escalation_resolved_at
                or observed.assignee_id is distinct from known.assignee_id
                or observed.assignee_name is distinct from known.assignee_name
                or known.missing_since is not null
            )
        )
) as changed
on history.chat_id = changed.chat_id
    and history.conversation_id = changed.conversation_id
    and history.observed_at = changed.observed_at
when matched then update set
    channel = changed.channel,
    manual_reply_mode = changed.manual_reply_mode,
    last_escalated_at = changed.last_escalated_at,
    last_escalation_resolved_at = changed.last_escalation_resolved_at,
    assignee_id = changed.assignee_id,
    assignee_name = changed.assignee_name,
    missing_since = null
when not matched then insert (
    chat_id, conversation_id, channel, manual_reply_mode, last_escalated_at,
    last_escalation_resolved_at, assignee_id, assignee_name, missing_since, observed_at
) values (
    changed.chat_id, changed.conversation_id, changed.channel, changed.manual_reply_mode, changed.last_escalated_at,
    changed.last_escalation_resolved_at, changed.assignee_id, changed.assignee_name, null, changed.observed_at
)
