-- grain: one row per conversation of `observed` whose state differs from the one that is known
merge into zipchat.conversation_history as history
using (
    select
        observed.chat_id,
        observed.conversation_id,
        observed.channel,
        observed.manual_reply_mode,
        observed.last_escalated_at,
        observed.last_escalation_resolved_at,
        observed.assignee_id,
        observed.assignee_name,
        observed.missing_since,
        observed.observed_at
    from observed
    left join zipchat.raw_conversations as known
        on known.chat_id = observed.chat_id and known.conversation_id = observed.conversation_id
    where known.conversation_id is null
        or (
            observed.observed_at >= known.observed_at
            and (
                known.missing_since is not null
                or (
                    observed.channel, observed.manual_reply_mode, observed.last_escalated_at,
                    observed.last_escalation_resolved_at, observed.assignee_id, observed.assignee_name
                ) is distinct from (
                    known.channel, known.manual_reply_mode, known.last_escalated_at,
                    known.last_escalation_resolved_at, known.assignee_id, known.assignee_name
                )
            )
        )
) as changed
on history.chat_id = changed.chat_id
    and history.conversation_id = changed.conversation_id
    and history.observed_at = changed.observed_at
when matched then update by name
when not matched then insert by name
