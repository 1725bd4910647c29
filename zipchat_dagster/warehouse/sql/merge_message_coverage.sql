-- grain: one row per conversation of `covered`, whose messages were just stored or could not be read
merge into zipchat.message_coverage as known
using (
    select
        $chat_id::bigint as chat_id,
        covered.* exclude (ask_from, newest),
        if(failure is null, coalesce(ask_from, timestamptz '1970-01-01 00:00:00+00'), null) as covered_from,
        -- A message may still arrive in the second that was read last. least() ignores a NULL.
        if(
            failure is null,
            least(try_cast(regexp_extract(newest, '^(19|20)\d\d-.*') as timestamptz), observed_at - $settling),
            null
        ) as covered_through,
        if(failure is null, null, observed_at) as failed_at
    from covered
) as read
on known.chat_id = read.chat_id and known.conversation_id = read.conversation_id
-- One action for both cases, success and failure: a lake takes no second one.
when matched then update set
    covered_from = case
        -- what was asked for begins inside or right at the end of what was covered
        when read.covered_from > known.covered_from and read.covered_from <= known.covered_through then known.covered_from
        else coalesce(read.covered_from, known.covered_from)
    end,
    -- greatest() ignores a NULL, too
    covered_through = greatest(read.covered_through, known.covered_through),
    stated_messages = coalesce(read.stated_messages, known.stated_messages),
    observed_at = if(read.failure is null, read.observed_at, known.observed_at),
    failed_at = read.failed_at,
    failure = read.failure
when not matched then insert by name
