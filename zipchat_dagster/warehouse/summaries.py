"""What is in the tables, for metadata, previews and printed tables; never customer data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from zipchat_dagster.warehouse.warehouse import Warehouse

# The columns of a preview, none of them personal. The first one orders the rows, newest first.
PREVIEWED: Final[dict[str, tuple[str, ...]]] = {
    "users": ("first_seen_at", "user_id", "role", "is_current", "last_seen_at"),
    "raw_conversations": (
        "last_message_at",
        "conversation_id",
        "created_at",
        "channel",
        "manual_reply_mode",
        "last_escalated_at",
        "last_escalation_resolved_at",
        "assignee_id",
    ),
    "raw_messages": ("created_at", "message_id", "conversation_id", "role", "manual_reply"),
    "escalations": (
        "escalated_at",
        "conversation_id",
        "channel",
        "first_response_at",
        "resolved_at",
        "assignee_id",
        "is_open",
    ),
    "customer_turns": (
        "asked_at",
        "conversation_id",
        "turn",
        "channel",
        "customer_messages",
        "answered_at",
        "answered_by",
    ),
    "sla_events": (
        "starts_at",
        "conversation_id",
        "metric",
        "agent_id",
        "ended_at",
        "elapsed_seconds",
        "is_breached",
    ),
    "conversation_facts": (
        "last_message_at",
        "conversation_id",
        "channel",
        "customer_turns",
        "escalations",
        "last_author",
        "is_automated",
    ),
    "leads": ("last_contact_at", "lead_id", "conversations", "first_contact_at"),
}


def partition_counts(
    warehouse: Warehouse, table: str, days: Sequence[str], *, chat_id: int
) -> dict[str, dict[str, float]]:
    """The chat's rows per day: ISO date → {"dagster/partition_row_count": rows}."""
    counts = dict.fromkeys(days, 0)
    with warehouse.transaction() as transaction:
        found = transaction.execute(
            "partition_counts",
            table=f"zipchat.{table}",
            chat_id=chat_id,
            first=days[0],
            last=days[-1],
        )
    counts |= dict(found)
    return {day: {"dagster/partition_row_count": counts[day]} for day in days}


def key_figures(
    warehouse: Warehouse, days: Sequence[str], *, chat_id: int
) -> dict[str, dict[str, float]]:
    """The chat's most important numbers per day: ISO date → column of escalation_metrics → number.
    A number that is NULL is left out."""
    with warehouse.transaction() as transaction:
        frame = transaction.query("key_figures", chat_id=chat_id, first=days[0], last=days[-1])
    rows = frame.set_index("day").to_dict("index")
    return {
        day: {str(name): value for name, value in rows[day].items() if not math.isnan(value)}
        for day in days
    }


def preview(warehouse: Warehouse, table: str, *, chat_id: int) -> list[dict[str, str]]:
    """The chat's newest five rows of a table as text, without personal data; times are in UTC."""
    columns = PREVIEWED[table]
    names = {"table": table, "columns": ", ".join(columns), "newest": columns[0]}
    with warehouse.reading() as transaction:
        frame = transaction.query("preview", None, names, chat_id=chat_id)
    text = frame.astype(object).where(frame.notna(), "").astype(str)
    return [{str(name): value for name, value in row.items()} for row in text.to_dict("records")]


def metrics_table(warehouse: Warehouse, *, chat_id: int) -> str:
    """`escalation_metrics` of all conversations of the chat, the newest thirty days, as text."""
    with warehouse.transaction() as transaction:
        frame = transaction.query("metrics_table", chat_id=chat_id).tail(30)
    for column in ("escalation rate", "contained"):
        frame[column] = frame[column].map(lambda rate: f"{rate:.0%}", na_action="ignore")
    for column in ("first response", "resolution"):
        frame[column] = frame[column].map(_duration, na_action="ignore")
    return frame.astype(object).fillna("–").to_string(index=False, justify="right")


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
