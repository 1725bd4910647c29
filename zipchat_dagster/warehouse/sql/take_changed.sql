-- grain: one row per changed conversation, $most at a time
-- since: its messages observed from then on may be new. has_other_channel: all its days count for
-- another channel than before, or it is new.
create or replace temp table changed as
with taken as (
    select chat_id, conversation_id, min(observed_at) as since
    from zipchat.changed_conversations
    group by all
    order by all
    limit $most
),
before as (
    select
        taken.chat_id,
        taken.conversation_id,
        arg_max_null(history.channel, history.observed_at) as channel
    from taken
    inner join zipchat.conversation_history as history
        on history.chat_id = taken.chat_id
        and history.conversation_id = taken.conversation_id
        and history.observed_at < taken.since
    group by all
)
select
    taken.*,
    before.conversation_id is null or before.channel is distinct from conversation.channel as has_other_channel
from taken
left join before
    on before.chat_id = taken.chat_id and before.conversation_id = taken.conversation_id
left join zipchat.raw_conversations as conversation
    on conversation.chat_id = taken.chat_id and conversation.conversation_id = taken.conversation_id
