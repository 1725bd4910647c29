"""Checks of what is stored: keys, counts, times, days, and what could not be read."""

from __future__ import annotations

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

MOST_GONE: Final = 0.05  # share of the conversations asked about in a day that may be gone
FEW_GONE: Final = 5  # so many may be: in a small chat, one deletion is a large share
MOST_NULLS: Final = 0.3  # by how much a column's share of NULLs may exceed what it was
NULL_DAYS: Final = 14  # days with which the newest one is compared
LEAST_ROWS: Final = 20  # rows of a day, or of the days before, that a share needs


def _no_key_twice(*others: str) -> Callable[[Evidence], Verdict]:
    """In the evidence's table, nor in the others."""

    def judge(evidence: Evidence) -> Verdict:
        found = [
            {"table": table, **row}
            for table in (evidence.table, *others)
            for row in evidence.rows("check_keys", table=table, most=NAMED_AT_MOST)
        ]
        count = sum({row["table"]: row["offenders"] for row in found}.values())
        rows = [{**row, "offenders": count} for row in found[:NAMED_AT_MOST]]
        return offenders(rows, what="keys are stored more than once")

    return judge


_ABOUT_KEYS = (
    "No key is stored twice (the table's grain, see its description). When it fails, something"
    " other than this project wrote to the table, or two databases were put together: keep one row"
    " of each key named. Materializing a derived table (escalations, leads, metrics) mends it."
)

KEYS_ARE_UNIQUE = Rule("keys_are_unique", ERROR, _ABOUT_KEYS, _no_key_twice())

MESSAGE_KEYS_ARE_UNIQUE = Rule(
    "keys_are_unique",
    ERROR,
    f"{_ABOUT_KEYS} Looks at raw_conversations too, and holds back what is derived from both: a"
    " record that is stored twice would be counted twice.",
    _no_key_twice("raw_conversations"),
    is_blocking=True,
)


def every_record_has_an_id(kind: str) -> Rule:
    """Nothing of this kind was rejected: conversation, message or user."""

    def judge(evidence: Evidence) -> Verdict:
        rows = evidence.rows("check_rejected", kind=kind, most=NAMED_AT_MOST)
        return offenders(rows, what=f"{kind}s came without a usable id")

    return Rule(
        "every_record_has_an_id",
        ERROR,
        f"No {kind} had to be put aside because the API gave it no whole number as its id. When it"
        " fails, look at payload in zipchat.rejected_records, tell Zipchat, and delete the rows"
        " there once they are settled.",
        judge,
    )


EVERY_MESSAGE_HAS_ITS_CONVERSATION = Rule(
    "every_message_has_its_conversation",
    ERROR,
    "The conversation of every stored message is stored too. When it fails, materialize"
    " raw_conversations from the day on which the named conversations began.",
    no_rows_of("check_orphans", what="conversations are not stored although messages of them are"),
)

NO_CONVERSATION_WAS_SKIPPED = Rule(
    "no_conversation_was_skipped",
    ERROR,
    "The messages of every conversation could be read when they were last asked for. When it fails,"
    " the cause beside each id says whether the API, the network or the conversation itself is at"
    " fault; every run of the conversation's days tries again.",
    no_rows_of("check_skipped", what="conversations could not be read"),
)

MESSAGE_COUNTS_ARE_AS_THE_API_STATED = Rule(
    "counts_are_as_the_api_stated",
    ERROR,
    "At least as many messages of a conversation are stored as the API said there are. When it"
    " fails, materialize raw_messages for the conversations' days with `refresh` in the run config;"
    " if they still differ, the API states what it does not show.",
    no_rows_of("check_message_counts", what="conversations have fewer messages than stated"),
)

LISTING_COUNT_IS_AS_THE_API_STATED = Rule(
    "counts_are_as_the_api_stated",
    WARN,
    "The last listing showed as many conversations as the API said there are. When it fails, the"
    " list was read again and showed the same ones, so the total may count something else; if it"
    " goes on, materialize raw_conversations with `refresh` and compare with Zipchat's own count.",
    no_rows_of("check_listing_counts", what="chats listed fewer conversations than stated"),
)


_in_order = no_rows_of("check_order", "table", what="conversations have times out of order")

TIMES_ARE_IN_ORDER = Rule(
    "times_are_in_order",
    WARN,
    "No conversation's newest message is older than the conversation. When it fails, the API says"
    " so: compare payload with the conversation in Zipchat (share_url). Which days ask for its"
    " messages goes by these two times.",
    _in_order,
)

ESCALATION_TIMES_ARE_IN_ORDER = Rule(
    "times_are_in_order",
    ERROR,
    "No escalation was resolved or answered before it happened. When it fails, durations are"
    " negative and the metrics of those days wrong: materialize escalations again, and report the"
    " ids as a defect of this project if it stays.",
    _in_order,
)


EVERY_ROW_IS_IN_THE_PARTITION_OF_ITS_DAY = Rule(
    "every_row_is_in_the_partition_of_its_day",
    ERROR,
    "partition_date is the row's day in ZIPCHAT_TIMEZONE. When it fails after a change of that"
    " setting, the next run mends it. A row without a day has no readable time, and no day's"
    " metrics count it: see every_value_has_its_type.",
    no_rows_of(
        "check_days", "table", "timezone", what="rows are not in the partition of their day"
    ),
)


def _not_vanishing(evidence: Evidence) -> Verdict:
    (row,) = evidence.rows("check_vanished", most=NAMED_AT_MOST)
    asked, gone = row["asked"], row["gone"]
    share = gone / asked if asked else 0.0
    return Verdict(
        passed=gone <= FEW_GONE or share <= MOST_GONE,
        description=f"{gone:,} of {asked:,} conversations asked about in the last day were gone.",
        metadata={
            "offenders": gone,
            "named": dg.MetadataValue.json(row["ids"]),
            "share": share,
            "conversations_missing": row["missing_ever"],
        },
    )


CONVERSATIONS_DO_NOT_VANISH_IN_MASSES = Rule(
    "conversations_do_not_vanish_in_masses",
    WARN,
    f"Of the conversations that the API was asked about within a day, at most {MOST_GONE:.0%} (or"
    f" {FEW_GONE}) were no longer there. When it fails, somebody deleted many, or the API answers"
    " wrongly. The rows are kept; materialize raw_conversations with `refresh`: what is there again"
    " is marked so.",
    _not_vanishing,
)


def _nulls(evidence: Evidence) -> Verdict:
    rows = evidence.rows("check_nulls", table=evidence.table, least=LEAST_ROWS, days=NULL_DAYS)
    jumped = [row for row in rows if _has_jumped(row)]
    return Verdict(
        passed=not jumped,
        description=_told(jumped),
        metadata={
            "offenders": len(jumped),
            "shares_of_nulls": dg.MetadataValue.json(rows),
        },
    )


def _has_jumped(row: dict[str, Any]) -> bool:
    return bool(
        row["records_before"] >= LEAST_ROWS and row["share"] - row["share_before"] > MOST_NULLS
    )


def _told(jumped: Sequence[dict[str, Any]]) -> str:
    told = [
        f"{row['column_name']} was NULL in {row['share']:.0%} of {row['records']:,} rows on"
        f" {row['day']}, {row['share_before']:.0%} before"
        for row in jumped
    ]
    return "; ".join(told) + "." if told else "No column is NULL much more often than before."


NULLS_ARE_AS_RARE_AS_BEFORE = Rule(
    "nulls_are_as_rare_as_before",
    WARN,
    f"On the newest day with {LEAST_ROWS} rows, no watched column is NULL more often by over"
    f" {MOST_NULLS * 100:.0f} percentage points than on the {NULL_DAYS} days before. When it fails,"
    " look at the payloads of that day: the API may have renamed or dropped a field, or a setting"
    " of the chat changed.",
    _nulls,
)
