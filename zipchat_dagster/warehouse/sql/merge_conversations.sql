-- grain: one row per conversation of `observed`; an older observation never replaces a newer one
merge into zipchat.raw_conversations as known
using observed
on known.chat_id = observed.chat_id and known.conversation_id = observed.conversation_id
when matched and observed.observed_at >= known.observed_at then update by name
when not matched then insert by name
