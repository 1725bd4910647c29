-- grain: one row per conversation that is not missing, with what is covered of its messages
-- The times are in Unix seconds. A conversation without a newest message counts as active when it
-- began, or when it was seen.
select
    conversation.conversation_id,
    epoch(coalesce(conversation.created_at, to_timestamp(0))) as created_at,
    epoch(coalesce(conversation.last_message_at, conversation.created_at, conversation.observed_at)) as active_at,
    epoch(coverage.covered_from) as covered_from,
    epoch(coverage.covered_through) as covered_through,
    conversation.payload::varchar as payload,
    conversation.show_payload::varchar as show_payload,
    conversation.shown_at is not null and conversation.shown_at >= conversation.observed_at as is_shown_last
from zipchat.raw_conversations as conversation
left join zipchat.message_coverage as coverage using (chat_id, conversation_id)
where conversation.chat_id = $chat_id and conversation.missing_since is null
