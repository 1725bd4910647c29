"""What the report shows, read from the tables in one short transaction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from zipchat_dagster.warehouse import Transaction, Warehouse

Number = int | float | None

# The longest ranges whose charts are by day and by week. Beyond, a step is four weeks.
DAILY_UP_TO: Final = 62
WEEKLY_UP_TO: Final = 728


@dataclass(frozen=True)
class Numbers:
    """The numbers of one chat for the days `first` to `last`, both included.

    Attributes:
        now: the moment the report is for, in the time zone of the days.
        target_seconds: within which a first response is in time; None if no target is set.
        step_days: how many days one bar or dot of the charts over time covers.
        totals: the range as a whole; the columns of `report_totals.sql`.
        preceding: the same for the range of equal length before it, as it stood that many days
            ago, so that both had the same time to be answered; None unless all its days have
            metrics.
        steps, channels, agents, backlog: the rows of `report_<name>.sql`.
    """

    chat_id: int
    first: date
    last: date
    now: datetime
    target_seconds: float | None
    step_days: int
    totals: dict[str, Number]
    preceding: dict[str, Number] | None
    steps: pd.DataFrame
    channels: pd.DataFrame
    agents: pd.DataFrame
    backlog: pd.DataFrame

    @property
    def days(self) -> int:
        """The length of the range."""
        return (self.last - self.first).days + 1

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all to show."""
        totals = self.totals
        return not (totals["conversations_active"] or totals["escalations"] or totals["open_now"])


def measured_days(
    warehouse: Warehouse, *, chat_id: int, first: date, last: date
) -> tuple[date, date] | None:
    """The first and the last day from `first` to `last` that have metrics; None if none has."""
    with warehouse.transaction() as transaction:
        (found,) = transaction.execute("report_days", chat_id=chat_id, first=first, last=last)
    return None if found[0] is None else (found[0], found[1])


def read_numbers(
    warehouse: Warehouse,
    *,
    chat_id: int,
    first: date,
    last: date,
    now: datetime,
    target_seconds: float | None = None,
) -> Numbers:
    """Read everything the report shows.

    Args:
        first, last: the range of days in the warehouse's time zone, both included.
        now: an aware datetime; what happened after it is not counted.
        target_seconds: within which a first response is in time.

    Raises:
        ValueError: `last` is before `first`, or `now` has no time zone.
    """
    if last < first:
        raise ValueError(f"the range ends on {last}, before it begins on {first}")
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    now = now.astimezone(ZoneInfo(warehouse.timezone))
    length = timedelta(days=(last - first).days + 1)
    step_days = _step_days(length.days)
    span: dict[str, Any] = {"chat_id": chat_id, "first": first, "last": last}
    target = {"target_seconds": target_seconds}
    with warehouse.transaction() as transaction:
        before = _totals(
            transaction,
            chat_id=chat_id,
            first=first - length,
            last=first - timedelta(days=1),
            as_of=now - length,
            **target,
        )
        return Numbers(
            chat_id=chat_id,
            first=first,
            last=last,
            now=now,
            target_seconds=target_seconds,
            step_days=step_days,
            totals=_totals(transaction, **span, as_of=now, **target),
            preceding=before if before["days_measured"] == length.days else None,
            steps=transaction.query(
                "report_steps", **span, now=now, timezone=warehouse.timezone, step_days=step_days
            ),
            channels=transaction.query("report_channels", **span, now=now),
            agents=transaction.query("report_agents", **span, now=now),
            backlog=transaction.query("report_backlog", chat_id=chat_id, now=now),
        )


def _step_days(days: int) -> int:
    if days <= DAILY_UP_TO:
        return 1
    return 7 if days <= WEEKLY_UP_TO else 28


def _totals(transaction: Transaction, **parameters: Any) -> dict[str, Number]:
    row = transaction.query("report_totals", **parameters).iloc[0]
    return {str(name): number(value) for name, value in row.items()}


def number(value: Any) -> Number:
    """A frame's cell as a plain number: whole ones as int, NULL as None."""
    if pd.isna(value):
        return None
    value = float(value)
    return int(value) if math.isfinite(value) and value == int(value) else value
