-- grain: one row: how many of the conversations in `shown` have messages in [$since, $until) that are not stored
-- `work` holds those of which that is known already; they are not counted again.
select count(*)
from shown
left join zipchat.message_coverage as coverage
    on coverage.chat_id = $chat_id and coverage.conversation_id = shown.conversation_id
where (shown.created_at < $until or shown.created_at is null)
    and (shown.last_message_at >= $since or shown.last_message_at is null)
    and (
        coverage.covered_through is null
        or coverage.covered_from > greatest(shown.created_at, $since)
        or coverage.covered_through < shown.last_message_at
    )
    and shown.conversation_id not in (select conversation_id from work)
