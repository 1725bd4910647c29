-- grain: one row per API key (its SHA-256, never the key); state is a Window as JSON
create table if not exists zipchat_budget (
    key_hash text primary key,
    state text not null
);
