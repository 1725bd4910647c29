-- grain: one row at most: the conversation whose messages were read last without a failure
select coverage.conversation_id
from zipchat.message_coverage as coverage
semi join (from zipchat.raw_conversations where missing_since is null) using (chat_id, conversation_id)
where coverage.chat_id = $chat_id and coverage.failed_at is null and coverage.covered_through is not null
order by coverage.observed_at desc
limit 1
