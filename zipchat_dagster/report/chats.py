"""The page of all chats: one row each with its key figures, leading to its own page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from zipchat_dagster.report.data import clock, plain_table
from zipchat_dagster.report.page import fill
from zipchat_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class ListedChat:
    """A chat of the page.

    Attributes:
        name: any text.
        link: its own page, relative to this one.
        target_seconds: within which a first response is in time.
        source: where its records come from if not from Zipchat.
    """

    chat_id: int
    name: str
    link: str
    target_seconds: float | None = None
    source: str = ""


def chats_page(data: dict[str, Any]) -> str:
    """The HTML for what `read_chats` returns."""
    return fill("chats", "All chats · Escalations", data)


def read_chats(
    warehouse: Warehouse,
    chats: Sequence[ListedChat],
    *,
    days: int,
    now: datetime,
) -> dict[str, Any]:
    """What the page shows, ready for JSON.

    Args:
        days: the length of the range. It ends on the newest day of which a chat has metrics.
        now: an aware datetime: the moment of "waiting now" and of ages.

    Returns:
        The range, and under `tables` the columns and rows of `report_chats.sql`, and of
        `report_chats_range.sql` for this range and the one before. Times are in seconds since 1970.
    """
    zone = ZoneInfo(warehouse.timezone)
    today = now.astimezone(zone).date()
    listed = {"listed": pd.DataFrame([asdict(chat) for chat in chats])}
    listed["listed"]["target_seconds"] = listed["listed"]["target_seconds"].astype("float64")
    with warehouse.transaction() as transaction:
        ((newest,),) = transaction.execute("report_chats_last", listed, today=today)
        last = newest or today
        first = last - timedelta(days=days - 1)
        length = _midnight(last + timedelta(days=1), zone) - _midnight(first, zone)
        ranges = {
            "now_range": (first, last, now, 23),
            # As it stood then: one range before now, and up to the same hour.
            "before_range": (
                first - timedelta(days=days),
                first - timedelta(days=1),
                now - length,
                now.astimezone(zone).hour if last == today else 23,
            ),
        }
        tables = {
            name: transaction.query(
                "report_chats_range",
                listed,
                first=since,
                last=until,
                by=by,
                hour=hour,
                timezone=warehouse.timezone,
            )
            for name, (since, until, by, hour) in ranges.items()
        }
        tables["chats"] = transaction.query(
            "report_chats", listed, first=first - timedelta(days=days), last=last, now=now
        )
    return {
        **clock(warehouse, now),
        "first": str(first),
        "last": str(last),
        "source": _sources(chats),
        "tables": {name: plain_table(frame) for name, frame in tables.items()},
    }


def headline(data: dict[str, Any]) -> dict[str, int]:
    """The counts of all chats that the metadata shows. `data` is what `read_chats` returns."""
    table = data["tables"]["chats"]
    frame = pd.DataFrame(table["rows"], columns=table["columns"])
    return {
        "chats": len(frame),
        "waiting_now": int(frame["waiting"].sum()),
        "waiting_past_target": int(frame["late"].sum()),
        "open_now": int(frame["open"].sum()),
    }


def _sources(chats: Sequence[ListedChat]) -> str:
    found = [chat.source for chat in chats if chat.source]
    some = f" for {len(found)} of {len(chats)} chats" if 0 < len(found) < len(chats) else ""
    return " and ".join(dict.fromkeys(found)) + some


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
