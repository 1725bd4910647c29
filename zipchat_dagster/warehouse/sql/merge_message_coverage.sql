-- grain: one row per conversation of `covered`, whose messages were just stored or could not be read
merge into zipchat.message_coverage as known
using (
    select
        $chat_id::bigint as chat_id,
        covered.* exclude (ask_from, newest),
        coalesce(ask_from, timestamptz '1970-01-01 00:00:00+00') as covered_from,
        -- A message may still arrive in the second that was read last. least() ignores a NULL.
        least(
            try_cast(regexp_extract(newest, '^(19|20)\d\d-.*') as timestamptz), observed_at - $settling
        ) as covered_through
    from covered
) as read
on known.chat_id = read.chat_id and known.conversation_id = read.conversation_id
-- One action for both cases, success and failure: a lake takes no second one.
when matched then update set
    covered_from = case
        when read.failure is not null then known.covered_from
        -- what was asked for begins inside or right at the end of what was covered
        when read.covered_from > known.covered_from and read.covered_from <= known.covered_through then known.covered_from
        else read.covered_from
    end,
    covered_through = case
        when read.failure is not null then known.covered_through
        else greatest(read.covered_through, known.covered_through)
    end,
    stated_messages = coalesce(read.stated_messages, known.stated_messages),
    observed_at = case when read.failure is not null then known.observed_at else read.observed_at end,
    failed_at = case when read.failure is not null then read.observed_at end,
    failure = read.failure
when not matched then insert (
    chat_id, conversation_id, covered_from, covered_through, stated_messages, observed_at, failed_at, failure
) values (
    read.chat_id, read.conversation_id,
    case when read.failure is null then read.covered_from end,
    case when read.failure is null then read.covered_through end,
    read.stated_messages, read.observed_at,
    case when read.failure is not null then read.observed_at end,
    read.failure
)
