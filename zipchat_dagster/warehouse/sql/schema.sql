-- The tables of zipchat_dagster; the views are in views.sql. The comments above a table give its grain and,
-- unless it is a log, the columns of its key; one beside a column gives its meaning. tables.py reads them
-- for Dagster's UI, the checks and the docs. “personal data” in a comment marks the column.
-- Any change of the tables needs a migration: see migrations.py and docs/design.md.
create schema if not exists zipchat;

-- grain: one row per chat that was ever synced
-- key: chat_id
create table if not exists zipchat.chats (
    chat_id bigint, -- the chat
    name varchar, -- its name in ZIPCHAT_CHATS, or the component's; the only chat of a code location has its number
    is_current boolean, -- false once it is no longer in ZIPCHAT_CHATS; its rows stay in all tables
    since timestamptz -- when that was last seen to change
);

-- grain: one row per conversation, in its newest observed state
-- key: chat_id, conversation_id
create table if not exists zipchat.raw_conversations (
    chat_id bigint, -- the chat
    conversation_id bigint, -- Zipchat's id of the conversation
    partition_date date, -- day of created_at in ZIPCHAT_TIMEZONE
    created_at timestamptz, -- when the conversation began
    last_message_at timestamptz, -- newest message; escalating, resolving and assigning do not move it
    channel varchar, -- web, chat, email, whatsapp, instagram or messenger
    manual_reply_mode boolean, -- true while a human has taken the conversation over
    last_escalated_at timestamptz, -- the last escalation; earlier ones are in escalations
    last_escalation_resolved_at timestamptz, -- the last time that an agent pressed "resolved"
    assignee_id bigint, -- the user it is assigned to, users.user_id
    assignee_name varchar, -- that user's name (personal data)
    lead_id bigint, -- the customer, leads.lead_id; NULL for an anonymous visitor
    lead_full_name varchar, -- personal data
    lead_email varchar, -- personal data
    lead_phone_number varchar, -- personal data
    lead_email_marketing_consent boolean, -- whether the lead agreed to marketing e-mails
    share_url varchar, -- the conversation in Zipchat's app (leads to personal data)
    missing_since timestamptz, -- when the API was first seen without it; NULL while it is there
    payload json, -- the record as the list endpoint gave it last (personal data)
    show_payload json, -- the record as the show endpoint gave it last, without its messages (personal data)
    shown_at timestamptz, -- when that was, by the server's clock
    observed_at timestamptz -- when this state was seen, by the server's clock
);

-- grain: one row per conversation and observed change of its state
create table if not exists zipchat.conversation_history (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    channel varchar, -- as seen then
    manual_reply_mode boolean, -- as seen then
    last_escalated_at timestamptz, -- as seen then
    last_escalation_resolved_at timestamptz, -- as seen then
    assignee_id bigint, -- as seen then
    assignee_name varchar, -- as seen then (personal data)
    missing_since timestamptz, -- set where the change is that the API no longer shows it
    observed_at timestamptz -- when the change was first seen, by the server's clock
);

-- grain: one row per message
-- key: chat_id, message_id
create table if not exists zipchat.raw_messages (
    chat_id bigint, -- the chat
    message_id bigint, -- Zipchat's id of the message
    partition_date date, -- day of created_at in ZIPCHAT_TIMEZONE
    conversation_id bigint, -- raw_conversations.conversation_id
    role varchar, -- user: the customer; assistant: the AI, or a human on its behalf
    message varchar, -- as received: text, HTML, or a JSON array of blocks (personal data)
    message_text varchar, -- the same as plain text (personal data)
    manual_reply boolean, -- true: a human wrote it
    status varchar, -- as the API gives it
    sender_id bigint, -- the user who wrote a manual reply, users.user_id
    created_at timestamptz, -- whole seconds; several messages can share one
    payload json, -- the record as received (personal data)
    observed_at timestamptz, -- when it was read, by the server's clock
    redacted_at timestamptz -- when its text was removed because of ZIPCHAT_RETENTION_DAYS; NULL while it is there
);

-- grain: one row per user who could ever be assigned
-- key: chat_id, user_id
create table if not exists zipchat.users (
    chat_id bigint, -- the chat
    user_id bigint, -- Zipchat's id of the user
    full_name varchar, -- full_name, else name, else first and last name (personal data)
    email varchar, -- personal data
    avatar_url varchar, -- NULL where no picture was uploaded (personal data)
    role varchar, -- where the API gives one
    first_seen_at timestamptz, -- when the user was first listed
    last_seen_at timestamptz, -- when the user was last listed
    is_current boolean, -- whether the newest complete list shows the user
    payload json, -- the record as received (personal data)
    observed_at timestamptz -- when it was read, by the server's clock
);

-- grain: one row per lead
-- key: chat_id, lead_id
create table if not exists zipchat.leads (
    chat_id bigint, -- the chat
    lead_id bigint, -- Zipchat's id of the lead
    full_name varchar, -- personal data
    first_name varchar, -- personal data
    last_name varchar, -- personal data
    email varchar, -- personal data
    phone_number varchar, -- personal data
    email_marketing_consent boolean, -- whether the lead agreed to marketing e-mails
    shopify_customer_id varchar, -- the customer in the shop (personal data)
    additional_attributes json, -- what the shop attached to the lead (personal data)
    conversations bigint, -- how many conversations the lead had
    first_contact_at timestamptz, -- when the first of them began
    last_contact_at timestamptz -- newest message in any of them
);

-- grain: one row per conversation and escalation that was ever seen
-- key: chat_id, conversation_id, escalated_at
create table if not exists zipchat.escalations (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    escalated_at timestamptz, -- when the AI handed over
    partition_date date, -- day of escalated_at in ZIPCHAT_TIMEZONE
    resolved_at timestamptz, -- when an agent pressed "resolved"; NULL: not, or not seen
    channel varchar, -- of the conversation
    assignee_id bigint, -- the agent: assigned while it ran, newest observation; else the first seen after its end
    first_response_at timestamptz, -- first manual reply at or after escalated_at, until the next resolution
    first_responder_id bigint, -- who wrote it, users.user_id
    superseded_at timestamptz, -- the next escalation of the conversation, if it came before a resolution
    ended_at timestamptz, -- the first of resolved_at, superseded_at and the conversation's missing_since; NULL while open
    is_open boolean, -- ended_at is NULL
    turns_before bigint, -- customer turns of the conversation that were asked before it
    seconds_to_escalation double, -- seconds from the conversation's created_at to escalated_at
    first_response_seconds double, -- seconds from escalated_at to first_response_at
    first_response_business_seconds double, -- the same in business hours; NULL without ZIPCHAT_BUSINESS_HOURS
    resolution_seconds double, -- seconds from escalated_at to resolved_at
    resolution_business_seconds double, -- the same in business hours
    replies bigint, -- manual replies while it ran
    agents bigint, -- different people who wrote them
    reassignments bigint, -- changes from one assignee to another while it ran, as far as they were observed
    customer_wait_seconds double, -- seconds that the customer waited for a person in all; up to computed_at while open
    is_one_touch boolean, -- resolved with exactly one reply
    is_abandoned boolean, -- ended without a reply, or not answered and the customer silent for a day
    computed_at timestamptz -- when this row was derived, by this machine's clock
);

-- grain: one row per customer turn: messages of a customer with no answer in between
-- key: chat_id, conversation_id, turn
create table if not exists zipchat.customer_turns (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    turn bigint, -- its number in the conversation, from 1
    partition_date date, -- day of asked_at in ZIPCHAT_TIMEZONE
    channel varchar, -- of the conversation
    asked_at timestamptz, -- the turn's first message
    customer_messages bigint, -- how many messages the turn has
    answered_at timestamptz, -- the first answer; from an escalation to its end, only a person's; NULL while there is none
    answered_by varchar, -- ai or human
    sender_id bigint, -- who answered, users.user_id; NULL for the AI
    answer_seconds double, -- seconds from asked_at to answered_at
    answer_business_seconds double, -- the same in business hours, for a human's answer
    escalated_at timestamptz, -- the escalation that was running at asked_at, escalations.escalated_at; NULL if the AI had the conversation
    computed_at timestamptz -- when this row was derived, by this machine's clock
);

-- grain: one row per promise to an escalated customer: first response, each next response, resolution
-- key: chat_id, conversation_id, escalated_at, metric, turn
create table if not exists zipchat.sla_events (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    escalated_at timestamptz, -- escalations.escalated_at
    metric varchar, -- first_response, next_response or resolution
    turn bigint, -- of a next response, customer_turns.turn; else NULL
    partition_date date, -- day of starts_at in ZIPCHAT_TIMEZONE
    channel varchar, -- of the conversation
    agent_id bigint, -- who responded, else the escalation's assignee, users.user_id
    starts_at timestamptz, -- escalated_at; for a next response, when the customer asked
    ended_at timestamptz, -- when it was kept, or when the wait for it ended otherwise; NULL while active
    is_kept boolean, -- whether the response or resolution came
    target_seconds double, -- the metric's target; NULL where none is set
    breach_at timestamptz, -- starts_at plus the target
    elapsed_seconds double, -- seconds from starts_at to ended_at, up to computed_at while active
    is_active boolean, -- ended_at is NULL
    is_breached boolean, -- past breach_at at ended_at, or at computed_at while active; NULL without a target
    business_breach_at timestamptz, -- when the target has passed in business hours; NULL without ZIPCHAT_BUSINESS_HOURS
    elapsed_business_seconds double, -- elapsed_seconds in business hours
    is_business_breached boolean, -- is_breached in business hours
    computed_at timestamptz -- when this row was derived, by this machine's clock
);

-- grain: one row per conversation, with everything that can be told from it
-- key: chat_id, conversation_id
create table if not exists zipchat.conversation_facts (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    partition_date date, -- day of created_at in ZIPCHAT_TIMEZONE
    created_at timestamptz, -- when the conversation began
    channel varchar, -- web, chat, email, whatsapp, instagram or messenger
    lead_id bigint, -- the customer, leads.lead_id; NULL for an anonymous visitor
    is_first_of_lead boolean, -- whether the lead had no earlier conversation; NULL without a lead
    is_complete boolean, -- whether all its messages are stored; if not, what follows is provisional
    customer_messages bigint, -- messages written by the customer
    ai_messages bigint, -- by the AI
    human_messages bigint, -- by people (manual replies)
    agents bigint, -- different people who wrote them
    customer_turns bigint, -- rows in customer_turns
    turns_answered_by_ai bigint, -- of those, answered by the AI first
    turns_answered_by_human bigint, -- of those, answered by a person first
    turns_unanswered bigint, -- of those, not answered
    first_customer_message_at timestamptz, -- the customer's first message
    last_customer_message_at timestamptz, -- the customer's last message
    first_ai_answer_seconds double, -- seconds from the customer's first turn that the AI answered to that answer
    first_human_answer_at timestamptz, -- the first manual reply
    last_message_at timestamptz, -- the newest stored message
    last_author varchar, -- who wrote it: customer, ai or human
    escalations bigint, -- rows in escalations
    first_escalated_at timestamptz, -- the first escalation
    last_escalated_at timestamptz, -- the last escalation
    last_resolved_at timestamptz, -- the last resolution
    is_open boolean, -- whether an escalation is open
    reopened_at timestamptz, -- the first escalation after a resolution
    reopened_after_seconds double, -- seconds from that resolution to reopened_at
    is_ai_involved boolean, -- whether the AI wrote after a customer's message
    is_automation_pending boolean, -- as is_automated, but ZIPCHAT_QUIET_HOURS are not over yet
    is_automated boolean, -- AI involved, no person, no escalation, the AI's message is the last, then quiet for ZIPCHAT_QUIET_HOURS
    repeat_contact_at timestamptz, -- automated: the same lead's first message in another conversation within 7 days after the last one here
    computed_at timestamptz -- when this row was derived, by this machine's clock
);

-- grain: one row per day, chat, dimension (all, channel, agent) and its value
-- key: partition_date, chat_id, dimension, dimension_value
create table if not exists zipchat.escalation_metrics (
    partition_date date, -- the day, in ZIPCHAT_TIMEZONE
    chat_id bigint, -- the chat
    dimension varchar, -- all, channel or agent
    dimension_value varchar, -- all; the channel, or unknown; the agent's users.user_id, or unassigned
    conversations_started bigint, -- conversations created that day
    conversations_active bigint, -- conversations with a message or an escalation that day
    escalated_conversations bigint, -- conversations escalated that day, each once
    escalations bigint, -- escalations of that day
    reescalations bigint, -- of those, the second and later ones of their conversation
    resolved bigint, -- of that day's escalations, those resolved by now
    still_open bigint, -- of that day's escalations, those open now
    unanswered bigint, -- of that day's escalations, those without a human response in Zipchat by now
    escalation_rate double, -- escalated_conversations / conversations_active
    containment_rate double, -- active conversations neither escalated nor answered by a human that day / conversations_active
    resolution_rate double, -- resolved / escalations
    first_response_seconds_p50 double, -- seconds from escalated_at to the first human response, exact median
    first_response_seconds_p90 double, -- 90th percentile
    first_response_seconds_p95 double, -- 95th percentile
    first_response_business_seconds_p50 double, -- the same in business hours; NULL without ZIPCHAT_BUSINESS_HOURS
    first_response_business_seconds_p90 double, -- 90th percentile
    first_response_business_seconds_p95 double, -- 95th percentile
    answered_within_target_rate double, -- answered within ZIPCHAT_RESPONSE_TARGET_SECONDS / due: answered, ended, or open for at least that long
    pending_within_target bigint, -- of that day's escalations, those that are open, unanswered and not due yet
    resolution_seconds_p50 double, -- seconds from escalated_at to resolved_at, exact median
    resolution_seconds_p90 double, -- 90th percentile
    resolution_seconds_mean double, -- mean
    resolution_business_seconds_p50 double, -- the same in business hours, exact median
    resolution_business_seconds_p90 double, -- 90th percentile
    next_response_seconds_p50 double, -- seconds from a turn of that day in a person's hands to a person's answer, exact median over turns
    next_response_seconds_p90 double, -- 90th percentile
    responses_under_1h bigint, -- of that day's escalations, those first answered in less than an hour
    responses_1h_to_4h bigint, -- in one to less than four hours
    responses_4h_to_8h bigint, -- in four to less than eight hours
    responses_8h_to_24h bigint, -- in eight to less than 24 hours
    responses_over_24h bigint, -- later
    one_touch bigint, -- of that day's escalations, those resolved with exactly one reply
    abandoned bigint, -- of that day's escalations, those that ended without a reply, or are not answered and the customer silent for a day
    backlog_at_day_end bigint, -- escalations open when the day ended (now, for today)
    backlog_age_seconds_p50 double, -- their age then, median
    backlog_age_seconds_max double, -- the oldest one's
    customer_messages bigint, -- messages of that day written by customers
    ai_messages bigint, -- by the AI
    human_messages bigint, -- by people (manual replies)
    computed_at timestamptz -- when this row was computed, by this machine's clock
);

-- grain: one row per chat, hour, dimension (all, channel) and its value; for a channel only hours in which something happened
-- key: chat_id, hour_start, dimension, dimension_value
create table if not exists zipchat.activity_by_hour (
    chat_id bigint, -- the chat
    partition_date date, -- the hour's day in ZIPCHAT_TIMEZONE
    hour_start timestamptz, -- when the hour began; an hour that clocks repeat is two rows
    weekday bigint, -- of the local time: 1 is Monday, 7 Sunday
    hour bigint, -- of the local time, 0 to 23
    dimension varchar, -- all or channel
    dimension_value varchar, -- all; the channel, or unknown
    conversations_started bigint, -- conversations created in the hour
    customer_messages bigint, -- messages written by customers
    ai_messages bigint, -- by the AI
    human_messages bigint, -- by people (manual replies)
    active_agents bigint, -- different people who wrote them
    escalations bigint, -- escalations of the hour
    resolved bigint, -- escalations resolved in the hour
    open_at_end bigint, -- escalations open when the hour ended (now, for the hour that runs)
    computed_at timestamptz -- when this row was computed, by this machine's clock
);

-- grain: one row per stored observation of a conversation that escalations do not take into account yet
create table if not exists zipchat.changed_conversations (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    observed_at timestamptz -- of the observation; the messages that came with it have the same
);

-- grain: one row per chat and day whose metrics the next run computes again
create table if not exists zipchat.stale_days (
    chat_id bigint, -- the chat
    partition_date date -- the day, in ZIPCHAT_TIMEZONE
);

-- grain: one row per chat: every conversation active in [since, as_of] is in raw_conversations
-- key: chat_id
create table if not exists zipchat.listing_coverage (
    chat_id bigint, -- the chat
    since timestamptz, -- lower bound of the activity, inclusive
    as_of timestamptz, -- the server's time up to which the list is complete
    stated_total bigint, -- how many the API says there are since then, where it says so
    listed_total bigint -- how many distinct ones the same listing showed
);

-- grain: one row per conversation: every message created in [covered_from, covered_through] is in raw_messages
-- key: chat_id, conversation_id
create table if not exists zipchat.message_coverage (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    covered_from timestamptz, -- inclusive; 1970 where all messages were asked for
    covered_through timestamptz, -- inclusive; NULL while nothing is covered
    stated_messages bigint, -- how many messages the API says there are, at the last full reading
    observed_at timestamptz, -- when messages were last asked for, by the server's clock
    failed_at timestamptz, -- when asking last failed; NULL after a success
    failure varchar -- why, in words without customers' data
);

-- grain: one row per record that could not be stored because it has no usable id
create table if not exists zipchat.rejected_records (
    chat_id bigint, -- the chat
    kind varchar, -- conversation, message or user
    payload json, -- the record as received (personal data)
    observed_at timestamptz, -- when it was read, by the server's clock
    conversation_id bigint -- of a message, raw_conversations.conversation_id
);

-- grain: one row per setting that the stored rows depend on
-- key: name
create table if not exists zipchat.warehouse_settings (
    name varchar, -- schema_version; timezone, whose days partition_date holds; privacy, the loosest mode of ZIPCHAT_PII in which values of each class are stored; moving_from, during a move; or what is computed with further settings
    value varchar -- what the stored rows are in line with
);

-- grain: one row per attempt to send a message to a customer, recorded before it is sent
create table if not exists zipchat.write_back_attempts (
    chat_id bigint, -- the chat
    conversation_id bigint, -- raw_conversations.conversation_id
    text_hash varchar, -- of the text and its conversation, keyed with the API key: it does not reveal the text
    run_id varchar, -- the Dagster run that tried
    root_run_id varchar, -- the run that it re-executes, else itself
    newest_message_id bigint, -- the conversation's newest message before the attempt
    attempted_at timestamptz, -- when, by the server's clock
    outcome varchar, -- sent, refused, or unknown, which it is until an answer shows otherwise
    message_id bigint -- raw_messages.message_id, once sent
);

-- grain: one row per erasure of a person's data, which is its receipt
-- key: erasure_id
create table if not exists zipchat.erasures (
    chat_id bigint, -- the chat
    erasure_id varchar, -- the Dagster run that began it
    subject_hash varchar, -- keyed hash of the lead's or conversation's id that was given: it does not reveal it
    begun_at timestamptz, -- when its rows were deleted, by this machine's clock
    finished_at timestamptz, -- when a search found nothing of the person any more; NULL until then
    deleted json, -- how many rows of each table, and runs of Dagster, were deleted
    verification varchar -- what was searched, and the places in which something was found
);

-- grain: one row per value by which records of an erased person are recognized and dropped
-- key: chat_id, erasure_id, value_hash
create table if not exists zipchat.suppressions (
    chat_id bigint, -- the chat
    value_hash varchar, -- keyed hash of a lead's or conversation's id, an e-mail address or a phone number
    kind varchar, -- lead_id, conversation_id, email or phone_number
    erasure_id varchar, -- erasures.erasure_id
    since timestamptz, -- when it was added, by this machine's clock
    hits bigint, -- how many records were dropped because of it
    last_hit_at timestamptz -- when the last of them was read, by the server's clock
);
