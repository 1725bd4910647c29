-- grain: one row per conversation whose messages in [$since, $until) are not all stored, oldest day first
-- Conversations that could not be read come last, and with them the $most_retried of any day that
-- failed longest ago. ask_from: the lower bound to ask for, NULL for all messages.
with due as (
    select
        *,
        -- What failed may have been a run of earlier days. One read makes up for all of them, since
        -- after it nothing tells that something is still to be read.
        if(
            failed_at is null,
            $since,
            least($since, (select since from zipchat.listing_coverage where chat_id = $chat_id))
        ) as wanted_from,
        coalesce(created_at < $until, true)
        and coalesce(last_message_at >= $since, true)
        and ($refresh or coalesce(complete_from > greatest(created_at, $since), true)) as is_in_window
    from zipchat.message_completeness
    where chat_id = $chat_id and missing_since is null
)
select
    conversation_id,
    case
        when (is_in_window and $refresh)
            or covered_through is null
            or covered_from > greatest(created_at, wanted_from)
            then case when created_at < wanted_from then wanted_from end
        else covered_through
    end as ask_from,
    cast(timezone($timezone, greatest(coalesce(created_at, $since), $since)) as date) as first_day
from due
where is_in_window or failed_at is not null
qualify is_in_window or row_number() over (partition by is_in_window order by failed_at) <= $most_retried
order by failed_at is not null, first_day, created_at, conversation_id
