-- A small database written by version 0, with invented data.
create schema zipchat;
create table zipchat.raw_conversations (
    chat_id bigint,
    conversation_id bigint,
    partition_date date,
    created_at timestamptz,
    last_message_at timestamptz,
    channel varchar,
    manual_reply_mode boolean,
    last_escalated_at timestamptz,
    last_escalation_resolved_at timestamptz,
    assignee_id bigint,
    assignee_name varchar,
    lead_id bigint,
    lead_full_name varchar,
    lead_email varchar,
    lead_phone_number varchar,
    lead_email_marketing_consent boolean,
    share_url varchar,
    missing_since timestamptz,
    payload json,
    show_payload json,
    shown_at timestamptz,
    observed_at timestamptz
);
create table zipchat.conversation_history (
    chat_id bigint,
    conversation_id bigint,
    channel varchar,
    manual_reply_mode boolean,
    last_escalated_at timestamptz,
    last_escalation_resolved_at timestamptz,
    assignee_id bigint,
    assignee_name varchar,
    missing_since timestamptz,
    observed_at timestamptz
);
create table zipchat.raw_messages (
    chat_id bigint,
    message_id bigint,
    partition_date date,
    conversation_id bigint,
    role varchar,
    message varchar,
    message_text varchar,
    manual_reply boolean,
    status varchar,
    sender_id bigint,
    created_at timestamptz,
    payload json,
    observed_at timestamptz
);
create table zipchat.users (
    chat_id bigint,
    user_id bigint,
    full_name varchar,
    email varchar,
    avatar_url varchar,
    role varchar,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    is_current boolean,
    payload json,
    observed_at timestamptz
);
create table zipchat.leads (
    chat_id bigint,
    lead_id bigint,
    full_name varchar,
    first_name varchar,
    last_name varchar,
    email varchar,
    phone_number varchar,
    email_marketing_consent boolean,
    shopify_customer_id varchar,
    additional_attributes json,
    conversations bigint,
    first_contact_at timestamptz,
    last_contact_at timestamptz
);
create table zipchat.escalations (
    chat_id bigint,
    conversation_id bigint,
    escalated_at timestamptz,
    partition_date date,
    resolved_at timestamptz,
    channel varchar,
    assignee_id bigint,
    first_response_at timestamptz,
    first_responder_id bigint,
    superseded_at timestamptz,
    is_open boolean
);
create table zipchat.escalation_metrics (
    partition_date date,
    chat_id bigint,
    dimension varchar,
    dimension_value varchar,
    conversations_started bigint,
    conversations_active bigint,
    escalated_conversations bigint,
    escalations bigint,
    reescalations bigint,
    resolved bigint,
    still_open bigint,
    unanswered bigint,
    escalation_rate double,
    containment_rate double,
    resolution_rate double,
    first_response_seconds_p50 double,
    first_response_seconds_p90 double,
    first_response_seconds_p95 double,
    first_response_business_seconds_p50 double,
    first_response_business_seconds_p90 double,
    first_response_business_seconds_p95 double,
    answered_within_target_rate double,
    resolution_seconds_p50 double,
    resolution_seconds_p90 double,
    resolution_seconds_mean double,
    backlog_at_day_end bigint,
    backlog_age_seconds_p50 double,
    backlog_age_seconds_max double,
    customer_messages bigint,
    ai_messages bigint,
    human_messages bigint,
    computed_at timestamptz
);
create table zipchat.listing_coverage (
    chat_id bigint,
    since timestamptz,
    as_of timestamptz,
    stated_total bigint,
    listed_total bigint
);
create table zipchat.message_coverage (
    chat_id bigint,
    conversation_id bigint,
    covered_from timestamptz,
    covered_through timestamptz,
    stated_messages bigint,
    observed_at timestamptz,
    failed_at timestamptz,
    failure varchar
);
create table zipchat.rejected_records (
    chat_id bigint,
    kind varchar,
    payload json,
    observed_at timestamptz
);
insert into zipchat.conversation_history values
    (1, 22550, 'web', true, '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', 400, 'Dmitri Agent', null, '2026-03-04 18:00:00+00:00'),
    (1, 22553, 'web', false, null, null, null, null, null, '2026-03-04 18:00:00+00:00');
insert into zipchat.escalations values
    (1, 22550, '2026-03-04 01:33:56+00:00', '2026-03-04', '2026-03-04 04:14:17+00:00', 'web', 400, '2026-03-04 01:34:45+00:00', 400, null, false);
insert into zipchat.escalation_metrics values
    ('2026-03-03', 1, 'all', 'all', 0, 0, 0, 0, 0, 0, 0, 0, null, null, null, null, null, null, null, null, null, null, null, null, null, 0, null, null, 0, 0, 0, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'agent', '400', null, null, 1, 1, 0, 1, 0, 0, null, null, 1.0, 49.0, 49.0, 49.0, null, null, null, null, 9621.0, 9621.0, 9621.0, 0, null, null, null, null, 4, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'all', 'all', 2, 2, 1, 1, 0, 1, 0, 0, 0.5, 0.5, 1.0, 49.0, 49.0, 49.0, null, null, null, null, 9621.0, 9621.0, 9621.0, 0, null, null, 7, 2, 4, '2026-03-04 18:00:00+00:00'),
    ('2026-03-04', 1, 'channel', 'web', 2, 2, 1, 1, 0, 1, 0, 0, 0.5, 0.5, 1.0, 49.0, 49.0, 49.0, null, null, null, null, 9621.0, 9621.0, 9621.0, 0, null, null, 7, 2, 4, '2026-03-04 18:00:00+00:00');
insert into zipchat.leads values
    (1, 7001, 'Inès Placeholder', 'Inès', 'Placeholder', null, null, false, '6200000000001', '{}', 1, '2026-03-04 00:00:00+00:00', '2026-03-04 02:35:07+00:00');
insert into zipchat.listing_coverage values
    (1, '2026-03-02 00:00:00+00:00', '2026-03-04 18:00:00+00:00', null, 2);
insert into zipchat.message_coverage values
    (1, 22550, '1970-01-01 00:00:00+00:00', '2026-03-04 02:35:07+00:00', null, '2026-03-04 18:00:00+00:00', null, null),
    (1, 22553, '1970-01-01 00:00:00+00:00', '2026-03-04 17:56:01+00:00', null, '2026-03-04 18:00:00+00:00', null, null);
insert into zipchat.raw_conversations values
    (1, 22550, '2026-03-04', '2026-03-04 00:00:00+00:00', '2026-03-04 02:35:07+00:00', 'web', true, '2026-03-04 01:33:56+00:00', '2026-03-04 04:14:17+00:00', 400, 'Dmitri Agent', 7001, 'Inès Placeholder', null, null, false, 'https://share.example.com/c/aa994d36', null, '{"id": 22550, "chat_id": 1, "created_at": "2026-03-04T00:00:00Z", "last_message_at": "2026-03-04T02:35:07Z", "channel": "web", "manual_reply_mode": true, "last_escalated_at": "2026-03-04T01:33:56Z", "last_escalation_resolved_at": "2026-03-04T04:14:17Z", "share_url": "https://share.example.com/c/aa994d36", "lead": {"id": 7001, "full_name": "Inès Placeholder", "email": null, "phone_number": null, "email_marketing_consent": false}, "assignee": {"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org"}}', '{"id": 22550, "chat_id": 1, "created_at": "2026-03-04T00:00:00Z", "last_message_at": "2026-03-04T02:35:07Z", "channel": "web", "manual_reply_mode": true, "last_escalated_at": "2026-03-04T01:33:56Z", "last_escalation_resolved_at": "2026-03-04T04:14:17Z", "share_url": "https://share.example.com/c/aa994d36", "lead": {"id": 7001, "full_name": "Inès Placeholder", "email": null, "phone_number": null, "email_marketing_consent": false, "first_name": "Inès", "last_name": "Placeholder", "shopify_customer_id": 6200000000001, "additional_attributes": {}}, "assignee": {"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org"}}', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00'),
    (1, 22553, '2026-03-04', '2026-03-04 07:09:01+00:00', '2026-03-04 17:56:01+00:00', 'web', false, null, null, null, null, null, null, null, null, null, 'https://share.example.com/c/853fba49', null, '{"id": 22553, "chat_id": 1, "created_at": "2026-03-04T07:09:01Z", "last_message_at": "2026-03-04T17:56:01Z", "channel": "web", "manual_reply_mode": false, "last_escalated_at": null, "last_escalation_resolved_at": null, "share_url": "https://share.example.com/c/853fba49", "lead": null, "assignee": null}', '{"id": 22553, "chat_id": 1, "created_at": "2026-03-04T07:09:01Z", "last_message_at": "2026-03-04T17:56:01Z", "channel": "web", "manual_reply_mode": false, "last_escalated_at": null, "last_escalation_resolved_at": null, "share_url": "https://share.example.com/c/853fba49", "lead": null, "assignee": null}', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00');
insert into zipchat.raw_messages values
    (1, 661706, '2026-03-04', 22550, 'user', 'Which size fits 182 cm?
I usually wear L.', 'Which size fits 182 cm?
I usually wear L.', false, 'delivered', null, '2026-03-04 00:00:00+00:00', '{"id": 661706, "role": "user", "message": "Which size fits 182 cm?\nI usually wear L.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T00:00:00Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661707, '2026-03-04', 22550, 'user', 'I would like to talk to a person.', 'I would like to talk to a person.', false, 'delivered', null, '2026-03-04 00:01:58+00:00', '{"id": 661707, "role": "user", "message": "I would like to talk to a person.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T00:01:58Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661708, '2026-03-04', 22550, 'assistant', '<p>I have passed this on to a colleague, who will answer you here.</p>', 'I have passed this on to a colleague, who will answer you here.', false, 'sent', null, '2026-03-04 00:02:02+00:00', '{"id": 661708, "role": "assistant", "message": "<p>I have passed this on to a colleague, who will answer you here.</p>", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T00:02:02Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661709, '2026-03-04', 22550, 'user', 'I would like to talk to a person.', 'I would like to talk to a person.', false, 'delivered', null, '2026-03-04 01:33:53+00:00', '{"id": 661709, "role": "user", "message": "I would like to talk to a person.", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T01:33:53Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661710, '2026-03-04', 22550, 'assistant', '<p>I have passed this on to a colleague, who will answer you here.</p>', 'I have passed this on to a colleague, who will answer you here.', false, 'delivered', null, '2026-03-04 01:33:58+00:00', '{"id": 661710, "role": "assistant", "message": "<p>I have passed this on to a colleague, who will answer you here.</p>", "manual_reply": false, "status": "delivered", "sender_id": null, "created_at": "2026-03-04T01:33:58Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661711, '2026-03-04', 22550, 'assistant', '<p>I have refunded the second charge, it takes 3 working days.</p>', 'I have refunded the second charge, it takes 3 working days.', true, 'read', 400, '2026-03-04 01:34:45+00:00', '{"id": 661711, "role": "assistant", "message": "<p>I have refunded the second charge, it takes 3 working days.</p>", "manual_reply": true, "status": "read", "sender_id": 400, "created_at": "2026-03-04T01:34:45Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661714, '2026-03-04', 22550, 'user', 'Yes, please', 'Yes, please', false, 'sent', null, '2026-03-04 01:40:27+00:00', '{"id": 661714, "role": "user", "message": "Yes, please", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T01:40:27Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661715, '2026-03-04', 22550, 'assistant', 'Could you send a photo of the label, please?', 'Could you send a photo of the label, please?', true, 'delivered', 400, '2026-03-04 01:43:25+00:00', '{"id": 661715, "role": "assistant", "message": "Could you send a photo of the label, please?", "manual_reply": true, "status": "delivered", "sender_id": 400, "created_at": "2026-03-04T01:43:25Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661716, '2026-03-04', 22550, 'user', '<p>Hello,</p><p>I was charged twice for the same order.</p>', 'Hello,
I was charged twice for the same order.', false, 'sent', null, '2026-03-04 01:55:01+00:00', '{"id": 661716, "role": "user", "message": "<p>Hello,</p><p>I was charged twice for the same order.</p>", "manual_reply": false, "status": "sent", "sender_id": null, "created_at": "2026-03-04T01:55:01Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661717, '2026-03-04', 22550, 'assistant', '<p>I have refunded the second charge, it takes 3 working days.</p>', 'I have refunded the second charge, it takes 3 working days.', true, 'read', 400, '2026-03-04 02:05:03+00:00', '{"id": 661717, "role": "assistant", "message": "<p>I have refunded the second charge, it takes 3 working days.</p>", "manual_reply": true, "status": "read", "sender_id": 400, "created_at": "2026-03-04T02:05:03Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661718, '2026-03-04', 22550, 'user', 'thanks!', 'thanks!', false, 'read', null, '2026-03-04 02:17:37+00:00', '{"id": 661718, "role": "user", "message": "thanks!", "manual_reply": false, "status": "read", "sender_id": null, "created_at": "2026-03-04T02:17:37Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661719, '2026-03-04', 22550, 'assistant', 'Could you send a photo of the label, please?', 'Could you send a photo of the label, please?', true, 'delivered', 400, '2026-03-04 02:35:07+00:00', '{"id": 661719, "role": "assistant", "message": "Could you send a photo of the label, please?", "manual_reply": true, "status": "delivered", "sender_id": 400, "created_at": "2026-03-04T02:35:07Z"}', '2026-03-04 18:00:00+00:00'),
    (1, 661720, '2026-03-04', 22553, 'user', 'Which size fits 182 cm?
I usually wear L.', 'Which size fits 182 cm?
I usually wear L.', false, 'read', null, '2026-03-04 17:56:01+00:00', '{"id": 661720, "role": "user", "message": "Which size fits 182 cm?\nI usually wear L.", "manual_reply": false, "status": "read", "sender_id": null, "created_at": "2026-03-04T17:56:01Z"}', '2026-03-04 18:00:00+00:00');
insert into zipchat.users values
    (1, 370, 'Chloé Agent', 'agent1@example.org', 'https://files.example.com/avatars/370.png', 'owner', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 370, "full_name": "Chloé Agent", "email": "agent1@example.org", "avatar_url": "https://files.example.com/avatars/370.png", "role": "owner"}', '2026-03-04 18:00:00+00:00'),
    (1, 400, 'Dmitri Agent', 'agent2@example.org', null, 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 400, "full_name": "Dmitri Agent", "email": "agent2@example.org", "avatar_url": null, "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 434, 'Hiro Agent', 'agent3@example.org', 'https://files.example.com/avatars/434.png', 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 434, "full_name": "Hiro Agent", "email": "agent3@example.org", "avatar_url": "https://files.example.com/avatars/434.png", "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 448, 'Elif Agent', 'agent4@example.org', null, 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 448, "full_name": "Elif Agent", "email": "agent4@example.org", "avatar_url": null, "role": "participant"}', '2026-03-04 18:00:00+00:00'),
    (1, 459, 'Bo Agent', 'agent5@example.org', 'https://files.example.com/avatars/459.png', 'participant', '2026-03-04 18:00:00+00:00', '2026-03-04 18:00:00+00:00', true, '{"id": 459, "full_name": "Bo Agent", "email": "agent5@example.org", "avatar_url": "https://files.example.com/avatars/459.png", "role": "participant"}', '2026-03-04 18:00:00+00:00');
