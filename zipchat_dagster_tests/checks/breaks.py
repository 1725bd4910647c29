"""What can be wrong in the tables: SQL that breaks them, and which checks must then fail."""

from __future__ import annotations

from typing import Final

# Some conversations, a message and an escalation
FIRST = "conversation_id = (select min(conversation_id) from zipchat.raw_conversations)"
MIDDLE = (
    "conversation_id ="
    " (select conversation_id from zipchat.raw_conversations order by 1 limit 1 offset 60)"
)
LAST = "conversation_id = (select max(conversation_id) from zipchat.raw_conversations)"
MESSAGE = "message_id = (select min(message_id) from zipchat.raw_messages)"
TIMELY = (
    "(conversation_id, escalated_at) ="
    " (select min((conversation_id, escalated_at)) from zipchat.escalations)"
)
OLD = "observed_at = observed_at - interval 5 day"


def twice(table: str) -> str:
    return f"insert into zipchat.{table} from (from zipchat.{table} limit 1)"


def patch(table: str, change: str, where: str = "true") -> str:
    """Change the payloads as if the API had sent them so."""
    columns = ["payload", "show_payload"] if table == "raw_conversations" else ["payload"]
    changes = ", ".join(f"{column} = json_merge_patch({column}, '{change}')" for column in columns)
    return f"update zipchat.{table} set {changes} where {where}"


# What is broken → which checks fail, and how badly. No others may.
BREAKS: Final[dict[str, tuple[list[str], dict[str, str]]]] = {
    "conversations of a day without channels": (
        [
            "update zipchat.raw_conversations set partition_date = date '2025-03-09',"
            " created_at = '2025-03-09 12:00:00+00'",
            patch("raw_conversations", '{"channel": null}', "conversation_id % 2 = 0"),
            "update zipchat.raw_conversations set partition_date = date '2025-03-10',"
            " created_at = '2025-03-10 12:00:00+00', channel = null where conversation_id % 2 = 0",
        ],
        {"raw_conversations.nulls_are_as_rare_as_before": "WARN"},
    ),
    **{
        f"a row of {table} twice": ([twice(table)], {f"{table}.keys_are_unique": "ERROR"})
        for table in (
            *("users", "raw_messages", "leads", "escalations", "customer_turns"),
            *("conversation_facts", "escalation_metrics"),
        )
    },
    "a conversation twice": (
        [twice("raw_conversations")],
        {"raw_conversations.keys_are_unique": "ERROR", "raw_messages.keys_are_unique": "ERROR"},
    ),
    "a turn twice, at different times": (
        [
            "insert into zipchat.customer_turns select * replace (asked_at - interval 1 second as"
            " asked_at) from zipchat.customer_turns limit 1"
        ],
        {"customer_turns.keys_are_unique": "ERROR"},
    ),
    "an SLA event twice": (
        [twice("sla_events")],
        {
            "sla_events.keys_are_unique": "ERROR",
            "sla_events.every_escalation_has_its_events": "ERROR",
        },
    ),
    "turns answered before they were asked": (
        ["update zipchat.customer_turns set answered_at = asked_at - interval 1 second"],
        {"customer_turns.times_are_in_order": "ERROR"},
    ),
    "facts lost": (
        [f"delete from zipchat.conversation_facts where {MIDDLE}"],
        {"conversation_facts.every_conversation_has_its_facts": "ERROR"},
    ),
    "SLA events of no escalation": (
        ["update zipchat.sla_events set escalated_at = escalated_at - interval 1 second"],
        {"sla_events.every_escalation_has_its_events": "ERROR"},
    ),
    "an hour twice": (
        [
            "insert into zipchat.activity_by_hour from (from zipchat.activity_by_hour"
            " where conversations_started + customer_messages + ai_messages + human_messages"
            " + escalations = 0 limit 1)"
        ],
        {"activity_by_hour.keys_are_unique": "ERROR"},
    ),
    "an hour with a message too many": (
        [
            "update zipchat.activity_by_hour set customer_messages = customer_messages + 1"
            " where hour = 12"
        ],
        {"activity_by_hour.hours_add_up_to_their_day": "ERROR"},
    ),
    "messages without their conversation": (
        [f"delete from zipchat.raw_conversations where {FIRST}"],
        {"raw_messages.every_message_has_its_conversation": "ERROR"},
    ),
    "a message lost": (
        [f"delete from zipchat.raw_messages where {MESSAGE}"],
        {"raw_messages.counts_are_as_the_api_stated": "WARN"},
    ),
    "a listing too short": (
        ["update zipchat.listing_coverage set stated_total = listed_total + 3"],
        {"raw_conversations.counts_are_as_the_api_stated": "WARN"},
    ),
    "a conversation that ends before it begins": (
        [
            "update zipchat.raw_conversations"
            f" set last_message_at = created_at - interval 1 second where {FIRST}"
        ],
        {"raw_conversations.times_are_in_order": "WARN"},
    ),
    **{
        f"an escalation with {column} before it happened": (
            [
                f"update zipchat.escalations set {column} = escalated_at - interval 1 second"
                f" where {TIMELY}"
            ],
            {"escalations.times_are_in_order": "ERROR"},
        )
        for column in ("resolved_at", "first_response_at")
    },
    "a conversation on another day": (
        [f"update zipchat.raw_conversations set partition_date = partition_date - 1 where {FIRST}"],
        {"raw_conversations.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "a message on another day": (
        [f"update zipchat.raw_messages set partition_date = partition_date + 1 where {MESSAGE}"],
        {"raw_messages.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "an escalation without a day": (
        [f"update zipchat.escalations set partition_date = null where {TIMELY}"],
        {"escalations.every_row_is_in_the_partition_of_its_day": "ERROR"},
    ),
    "a conversation that could not be read": (
        [
            "update zipchat.message_coverage"
            f" set failure = 'the API answered 500', failed_at = now() where {LAST}"
        ],
        {"raw_messages.no_conversation_was_skipped": "ERROR"},
    ),
    "a closed day whose last messages were never read": (
        [
            "update zipchat.message_coverage set covered_through = covered_through - interval 1 day"
            f" where {MIDDLE}"
        ],
        {"raw_messages.closed_days_are_complete": "WARN"},
    ),
    "ten of a hundred conversations gone": (
        [
            "update zipchat.raw_conversations set missing_since = observed_at where conversation_id"
            " in (select conversation_id from zipchat.raw_conversations order by 1 desc limit 12)"
        ],
        {"raw_conversations.conversations_do_not_vanish_in_masses": "WARN"},
    ),
    "a new field of messages": (
        [patch("raw_messages", '{"sentiment": 0.5}', MESSAGE)],
        {"raw_messages.fields_are_the_known_ones": "WARN"},
    ),
    "a new field of leads": (
        [patch("raw_conversations", '{"lead": {"vip": true}}', "lead_id is not null")],
        {"raw_conversations.fields_are_the_known_ones": "WARN"},
    ),
    "a new field of users": (
        [patch("users", '{"team": "A"}')],
        {"users.fields_are_the_known_ones": "WARN"},
    ),
    "a documented field that no conversation has": (
        [patch("raw_conversations", '{"share_url": null}')],
        {"raw_conversations.fields_are_the_known_ones": "WARN"},
    ),
    "a field that all earlier messages had": (
        [
            patch("raw_messages", '{"locale": "en"}', "message_id % 2 = 0"),
            f"update zipchat.raw_messages set {OLD} where message_id % 2 = 0",
        ],
        {"raw_messages.fields_are_the_known_ones": "WARN"},
    ),
    "a time that is none": (
        [
            patch("raw_messages", '{"created_at": "tomorrow"}', MESSAGE),
            "update zipchat.raw_messages set created_at = null, partition_date = null"
            f" where {MESSAGE}",
        ],
        {
            "raw_messages.every_value_has_its_type": "WARN",
            "raw_messages.every_row_is_in_the_partition_of_its_day": "ERROR",
        },
    ),
    "a time of a conversation that is none": (
        [
            patch("raw_conversations", '{"last_escalated_at": "tomorrow"}', FIRST),
            f"update zipchat.raw_conversations set last_escalated_at = null where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a column that is NULL beside a value": (
        [f"update zipchat.raw_conversations set manual_reply_mode = null where {FIRST}"],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a number where a text belongs": (
        [
            patch("raw_conversations", '{"channel": 7}', FIRST),
            f"update zipchat.raw_conversations set channel = '7' where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "an assignee that is only a name": (
        [
            patch("raw_conversations", '{"assignee": "Somebody"}', FIRST),
            f"update zipchat.raw_conversations set assignee_id = null where {FIRST}",
        ],
        {"raw_conversations.every_value_has_its_type": "WARN"},
    ),
    "a user whose e-mail is an object": (
        [patch("users", '{"email": {"work": "x"}}')],
        {"users.every_value_has_its_type": "WARN"},
    ),
    "a message without manual_reply where the payload has it": (
        [f"update zipchat.raw_messages set manual_reply = null where {MESSAGE}"],
        {"raw_messages.every_value_has_its_type": "WARN"},
    ),
    "a day of messages without roles": (
        [
            "create temp table newest as select max(day) as day from (select partition_date as day"
            " from zipchat.raw_messages group by day having count(*) >= 20)",
            patch(
                "raw_messages", '{"role": null}', "partition_date = (select day from newest)"
            ).replace("set ", "set role = null, "),
        ],
        {"raw_messages.nulls_are_as_rare_as_before": "WARN"},
    ),
    **{
        f"hashes in {table} that should be kept": (
            [
                f"update zipchat.{table} set {column} = 'h1:0123:' || sha256({column})",
                "delete from zipchat.warehouse_settings where name = 'privacy'",
                "insert into zipchat.warehouse_settings (name, value) values ('privacy',"
                """ '{"identity": "keep", "content": "keep", "attributes": "keep"}')""",
            ],
            {f"{asset}.personal_data_is_stored_as_set": "WARN"},
        )
        for asset, table, column in (
            ("users", "users", "full_name"),
            ("raw_conversations", "raw_conversations", "lead_email"),
            ("raw_conversations", "conversation_history", "assignee_name"),
            ("raw_messages", "raw_messages", "message_text"),
            ("leads", "leads", "phone_number"),
        )
    },
    "people erased with another key": (
        [
            "insert into zipchat.suppressions (chat_id, value_hash, kind, erasure_id, hits)"
            " values (1, 'h1:0000:1', 'email', 'run', 0)"
        ],
        {"raw_conversations.erased_people_stay_away": "ERROR"},
    ),
    "an erasure that was interrupted": (
        [
            "insert into zipchat.erasures (chat_id, erasure_id, begun_at)"
            " values (1, 'run', now() - interval 3 day)"
        ],
        {"raw_conversations.erasures_are_finished": "ERROR"},
    ),
    "a text that is older than texts may be": (
        [
            "update zipchat.raw_messages set partition_date = '2010-01-01',"
            " created_at = '2010-01-01 12:00:00+00'"
            " where message_id = (select max(message_id) from zipchat.raw_messages)"
        ],
        {"raw_messages.old_texts_are_removed": "ERROR"},
    ),
    **{
        f"a {kind} without an id": (
            [
                "insert into zipchat.rejected_records (chat_id, kind, payload, observed_at)"
                f" select 1, '{kind}', '{{\"id\": null}}'::json, now()"
            ],
            {f"{table}.every_record_has_an_id": "ERROR"},
        )
        for kind, table in (
            ("user", "users"),
            ("conversation", "raw_conversations"),
            ("message", "raw_messages"),
        )
    },
}
