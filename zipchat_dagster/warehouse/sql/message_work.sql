-- grain: one row per conversation whose messages in [$since, $until) are not all stored, oldest day first
-- ask_from: the lower bound to ask for, NULL for all of its messages
select
    conversation.conversation_id,
    case
        when $refresh or coverage.covered_through is null or coverage.covered_from > greatest(conversation.created_at, $since)
            then case when conversation.created_at < $since then $since end
        else coverage.covered_through
    end as ask_from,
    cast(timezone($timezone, greatest(coalesce(conversation.created_at, $since), $since)) as date) as first_day
from zipchat.raw_conversations as conversation
left join zipchat.message_coverage as coverage
    on coverage.chat_id = conversation.chat_id and coverage.conversation_id = conversation.conversation_id
where conversation.chat_id = $chat_id
    and conversation.missing_since is null
    and (conversation.created_at < $until or conversation.created_at is null)
    and (conversation.last_message_at >= $since or conversation.last_message_at is null)
    and (
        $refresh
        or coverage.covered_through is null
        or coverage.covered_from > greatest(conversation.created_at, $since)
        or coverage.covered_through < conversation.last_message_at
    )
order by first_day, conversation.created_at, conversation.conversation_id
