-- What a replay answers from. Times are in Unix seconds.

-- grain: one row per conversation that is not missing
create table conversations (
    conversation_id integer primary key,
    created_at real not null,
    active_at real not null,
    covered_from real,
    covered_through real,
    listed text not null, -- the record as the list endpoint gives it
    shown text not null -- the record as the show endpoint gives it, without its messages
);
create index conversations_by_activity on conversations (active_at);

-- grain: one row per message
create table messages (
    conversation_id integer not null,
    message_id integer not null,
    created_at real,
    payload text not null
);
create index messages_by_conversation on messages (conversation_id);
