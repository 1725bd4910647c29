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
    local_now = now.astimezone(zone)
    listed = {"listed": pd.DataFrame([asdict(chat) for chat in chats])}
    listed["listed"]["target_seconds"] = listed["listed"]["target_seconds"].astype("float64")
    length = timedelta(days=days)
    with warehouse.transaction() as transaction:
        ((newest,),) = transaction.execute("report_chats_last", listed, today=local_now.date())
        last = newest or local_now.date()
        first = last - length + timedelta(days=1)

        def figures(first: date, *, by: datetime, hour: int) -> pd.DataFrame:
            return transaction.query(
                "report_chats_range",
                listed,
                first=first,
                last=first + length - timedelta(days=1),
                by=by,
                hour=hour,
            )

        # As it stood then, and up to the same hour: the moments are those of the chats' own pages.
        then = now - (_midnight(last + timedelta(days=1), zone) - _midnight(first, zone))
        hour = local_now.hour if last == local_now.date() else 23
        tables = {
            "now_range": figures(first, by=now, hour=23),
            "before_range": figures(first - length, by=then, hour=hour),
            "chats": transaction.query(
                "report_chats", listed, first=first - length, last=last, now=now
            ),
        }
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
