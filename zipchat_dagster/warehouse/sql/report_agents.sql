-- grain: one row per person who could be assigned, or is or was the assignee of a conversation
select
    coalesce(users.user_id, assignees.user_id) as agent,
    -- a former agent is no longer listed, but the conversations still show the name
    coalesce(nullif(trim(users.full_name), ''), nullif(trim(assignees.last_name_seen), '')) as name
from (select user_id, full_name from zipchat.users where chat_id = $chat_id) as users
full join (
    select assignee_id as user_id, arg_max(assignee_name, observed_at) as last_name_seen
    from zipchat.raw_conversations
    where chat_id = $chat_id and assignee_id is not null
    group by assignee_id
) as assignees on assignees.user_id = users.user_id
where name is not null
order by agent
