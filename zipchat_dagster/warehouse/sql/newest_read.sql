-- grain: one row at most: the conversation whose messages were read last without a failure
select coverage.conversation_id
from zipchat.message_coverage as coverage
semi join zipchat.raw_conversations as conversation
    on conversation.chat_id = coverage.chat_id
    and conversation.conversation_id = coverage.conversation_id
    and conversation.missing_since is null
where coverage.chat_id = $chat_id and coverage.failed_at is null and coverage.covered_through is not null
order by coverage.observed_at desc
limit 1
