"""Checks of what is stored: keys, counts, times, days, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import dagster as dg

from zipchat_dagster.checks.rules import (
    ERROR,
    NAMED_AT_MOST,
    WARN,
    Evidence,
    Rule,
    Verdict,
    no_rows_of,
    offenders,
)
from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster.warehouse.rewriting import personal_values
from zipchat_dagster.warehouse.store import PRIVACY

MOST_GONE: Final = 0.05  # share of the conversations read within a day that may be gone
FEW_GONE: Final = 5  # this many may always be gone: in a small chat, one is a large share
MOST_NULLS: Final = 0.3  # by how much a column's share of NULLs may grow
NULL_DAYS: Final = 14  # days that the newest one is compared with
LEAST_ROWS: Final = 20  # rows that a share needs, on the day and on the days before


def _no_key_twice(*others: str) -> Callable[[Evidence], Verdict]:
    """Looks at the evidence's table and at `others`."""

    def judge(evidence: Evidence) -> Verdict:
        found = [
            {"table": table, **row}
            for table in (evidence.table, *others)
            for row in evidence.rows(
                "check_keys", schema_tables()[table].names_of_key, most=NAMED_AT_MOST
            )
        ]
        count = sum({row["table"]: row["offenders"] for row in found}.values())
        rows = [{**row, "offenders": count} for row in found[:NAMED_AT_MOST]]
        return offenders(rows, what="Keys stored more than once")

    return judge


_ABOUT_KEYS = (
    "No key is stored twice (a key is the table's grain; see its metadata). If it fails,"
    " something other than this project wrote to the table, or two databases were merged. Keep one"
    " row of each key named. To repair derived tables (facts, leads, metrics), materialize them,"
    " with `from_scratch` if they have that setting."
)

KEYS_ARE_UNIQUE = Rule("keys_are_unique", ERROR, _ABOUT_KEYS, _no_key_twice())

MESSAGE_KEYS_ARE_UNIQUE = Rule(
    "keys_are_unique",
    ERROR,
    f"{_ABOUT_KEYS} This check also covers raw_conversations, and blocks the tables derived from"
    " both, which would count a duplicate twice.",
    _no_key_twice("raw_conversations"),
    is_blocking=True,
)


def every_record_has_an_id(kind: str) -> Rule:
    """No record of this kind (conversation, message or user) was rejected."""

    def judge(evidence: Evidence) -> Verdict:
        rows = evidence.rows("check_rejected", kind=kind, most=NAMED_AT_MOST)
        return offenders(rows, what=f"{kind.capitalize()}s without a usable id")

    return Rule(
        "every_record_has_an_id",
        ERROR,
        f"Every {kind} came with an id that is a 64-bit whole number. If it fails, look at"
        " payload in zipchat.rejected_records and report it to Zipchat. Delete the rows there once"
        " that is settled.",
        judge,
    )


EVERY_MESSAGE_HAS_ITS_CONVERSATION = Rule(
    "every_message_has_its_conversation",
    ERROR,
    "The conversation of every stored message is stored too. If it fails, materialize"
    " raw_conversations from the day on which the named conversations began.",
    no_rows_of(
        "check_orphans", what="Conversations not stored, although some of their messages are"
    ),
)

NO_CONVERSATION_WAS_SKIPPED = Rule(
    "no_conversation_was_skipped",
    ERROR,
    "The last attempt to read each conversation's messages succeeded. If it fails, the reason"
    " next to each id shows whether the API, the network or the conversation itself is at fault."
    " The next run of today tries again.",
    no_rows_of("check_skipped", what="Conversations that could not be read"),
)

MESSAGE_COUNTS_ARE_AS_THE_API_STATED = Rule(
    "counts_are_as_the_api_stated",
    WARN,
    "At least as many messages of each conversation are stored as the API stated. If it fails,"
    " materialize raw_messages for the conversations' days with `refresh` in the run config. If the"
    " counts still differ, the API's total counts something other than the messages it shows.",
    no_rows_of("check_message_counts", what="Conversations with fewer messages than stated"),
)

LISTING_COUNT_IS_AS_THE_API_STATED = Rule(
    "counts_are_as_the_api_stated",
    WARN,
    "The last listing showed as many conversations as the API stated. If it fails, the list was"
    " read twice with the same result, so the total may count something else. If it keeps"
    " failing, materialize raw_conversations with `refresh` and compare with Zipchat's own count.",
    no_rows_of("check_listing_counts", what="Listings with fewer conversations than stated"),
)


_in_order = no_rows_of("check_order", "table", what="Conversations with times out of order")

TIMES_ARE_IN_ORDER = Rule(
    "times_are_in_order",
    WARN,
    "No conversation's newest message is older than the conversation. If it fails, the API sent"
    " these times. Compare payload with the conversation in Zipchat (share_url). Both times decide"
    " which days' runs read the messages.",
    _in_order,
)

ESCALATION_TIMES_ARE_IN_ORDER = Rule(
    "times_are_in_order",
    ERROR,
    "No escalation was resolved or answered before it happened. If it fails, durations are negative"
    " and the metrics of those days are wrong. Materialize escalations with `from_scratch`. If it"
    " still fails, report the ids as a bug in this project.",
    _in_order,
)

TURN_TIMES_ARE_IN_ORDER = Rule(
    "times_are_in_order",
    ERROR,
    "No turn was answered before it was asked. If it fails, materialize customer_turns with"
    " `from_scratch`. If it still fails, report the ids as a bug in this project.",
    _in_order,
)

EVERY_ESCALATION_HAS_ITS_EVENTS = Rule(
    "every_escalation_has_its_events",
    ERROR,
    "Every escalation has a first response and a resolution in sla_events, and every event there"
    " has its escalation. If it fails, materialize sla_events with `from_scratch`.",
    no_rows_of("check_events", what="Escalations and events without their counterpart"),
)

EVERY_CONVERSATION_HAS_ITS_FACTS = Rule(
    "every_conversation_has_its_facts",
    ERROR,
    "Every stored conversation has a row, and its counts of turns, customer messages and"
    " escalations match customer_turns and escalations. Records stored since the last run are"
    " left out. If it fails, materialize conversation_facts with `from_scratch`.",
    no_rows_of(
        "check_facts",
        what="Conversations whose facts are missing or disagree with their turns or escalations",
    ),
)


EVERY_ROW_IS_IN_THE_PARTITION_OF_ITS_DAY = Rule(
    "every_row_is_in_the_partition_of_its_day",
    ERROR,
    "partition_date is the row's day in ZIPCHAT_TIMEZONE. If it fails after a change of that"
    " setting, the next run corrects it. A row without a day has no readable time and is"
    " missing from the metrics: see every_value_has_its_type.",
    no_rows_of("check_days", "table", what="Rows outside the partition of their day"),
)


HOURS_ADD_UP_TO_THEIR_DAY = Rule(
    "hours_add_up_to_their_day",
    ERROR,
    "The hours of a day add up to its row in escalation_metrics, and the escalations open at the"
    " end of its last hour are its backlog. Both tables are stored together. If it fails,"
    " something other than this project wrote to one of them. Materialize both with"
    " `from_scratch`.",
    no_rows_of("check_hours", what="Days or channels that differ from escalation_metrics"),
)


def _not_vanishing(evidence: Evidence) -> Verdict:
    (row,) = evidence.rows("check_vanished", most=NAMED_AT_MOST)
    asked, gone = row["asked"], row["gone"]
    share = gone / asked if asked else 0.0
    return Verdict(
        passed=gone <= FEW_GONE or share <= MOST_GONE,
        description=f"Conversations read in the last day that were gone: {gone:,} of {asked:,}.",
        metadata={
            "violations": gone,
            "examples": dg.MetadataValue.json(row["ids"]),
            "share": round(share, 4),
            "conversations_missing": row["missing_ever"],
        },
    )


CONVERSATIONS_DO_NOT_VANISH_IN_MASSES = Rule(
    "conversations_do_not_vanish_in_masses",
    WARN,
    f"Of the conversations read within a day, at most {MOST_GONE:.0%} (or {FEW_GONE}) were no"
    " longer there. If it fails, somebody deleted many, or the API's responses are wrong. Their"
    " rows are kept. Materialize raw_conversations with `refresh`: conversations that are back lose"
    " their mark.",
    _not_vanishing,
)


def _nulls(evidence: Evidence) -> Verdict:
    rows = evidence.rows("check_nulls", table=evidence.table, least=LEAST_ROWS, days=NULL_DAYS)
    jumped = [row for row in rows if _has_jumped(row)]
    return Verdict(
        passed=not jumped,
        description=_described(jumped),
        metadata={
            "violations": len(jumped),
            "shares_of_nulls": dg.MetadataValue.json(rows),
        },
    )


def _has_jumped(row: dict[str, Any]) -> bool:
    return bool(
        row["records_before"] >= LEAST_ROWS and row["share"] - row["share_before"] > MOST_NULLS
    )


def _described(jumped: Sequence[dict[str, Any]]) -> str:
    sentences = [
        f"{row['column_name']} was NULL in {row['share']:.0%} of {row['records']:,} rows on"
        f" {row['day']}, {row['share_before']:.0%} before"
        for row in jumped
    ]
    return "; ".join(sentences) + "." if sentences else "NULLs are as rare as before."


NULLS_ARE_AS_RARE_AS_BEFORE = Rule(
    "nulls_are_as_rare_as_before",
    WARN,
    f"On the newest day with {LEAST_ROWS} rows, the share of NULLs in each watched column is at"
    f" most {MOST_NULLS * 100:.0f} percentage points above that of the {NULL_DAYS} days before. If"
    " it fails, look at the payloads of that day: the API may have renamed or dropped a field, or"
    " a setting of the chat may have changed.",
    _nulls,
)


def personal_data_is_stored_as_set(*others: str) -> Rule:
    """The rule about the evidence's table and `others`."""

    def judge(evidence: Evidence) -> Verdict:
        transaction = evidence.transaction
        modes = transaction.privacy.modes
        is_all_kept = set(modes.values()) == {"keep"}
        if is_all_kept and not transaction.execute("stored_setting", name=PRIVACY):
            return Verdict(True, "Nothing was ever hashed or dropped.")
        fingerprint = transaction.privacy.fingerprint
        rows = [
            {"table": table, **row}
            for table in (evidence.table, *others)
            for row in evidence.rows(
                "check_personal", personal_values(table), fingerprint=fingerprint
            )
        ]
        as_set = {"keep": "plain", "hash": "hashed", "drop": ""}
        wrong = Counter[str]()
        for row in rows:
            for form in ("plain", "hashed", "hashed_with_another_key"):
                if row[form] and form != as_set[modes[row["class"]]]:
                    wrong[f"{row['class']}: {form.replace('_', ' ')}"] += row[form]
        found = ", ".join(f"{what} {count:,}" for what, count in wrong.items())
        return Verdict(
            passed=not wrong,
            description=f"Values not stored as set: {found}."
            if wrong
            else "All values are stored as set.",
            metadata={"violations": wrong.total(), "values": dg.MetadataValue.json(rows)},
        )

    return Rule(
        "personal_data_is_stored_as_set",
        WARN,
        "Names, addresses and texts are stored in the form that ZIPCHAT_PII says: as received,"
        " hashed with ZIPCHAT_PII_KEY, or not at all. If it fails because of plain values, the"
        " next run rewrites them. If values are hashed that should be kept, or are hashed with a"
        " former key and do not join, materialize the raw tables with `refresh`.",
        judge,
    )
