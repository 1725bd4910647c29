-- grain: one row per conversation of `batch` whose channel changes, since it was no word
insert into zipchat.changed_conversations (chat_id, conversation_id, observed_at)
select known.chat_id, known.conversation_id, known.observed_at
from zipchat.raw_conversations as known
inner join batch on batch.id = known.conversation_id
where known.chat_id = $chat_id and known.channel is distinct from batch.channel
