"""What is derived from the raw tables without a request: escalations, leads, metrics.

Storing a conversation notes it in `changed_conversations`. Deriving its escalations notes the days
whose metrics they and its new messages change in `stale_days`, and computing metrics works these
off. So a run costs what has changed since the last one, whatever is stored, and the rows are those
that deriving everything from scratch would give. Both steps commit in pieces short enough that
others get at the file in between; what a killed run leaves undone, the next run does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import pandas as pd

from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

# Raise it when a definition changes: every database then computes everything again, once.
DEFINITIONS: Final = 2
# What one transaction does at most: about half a second with ten million messages.
CONVERSATIONS_AT_ONCE = 50_000
DAYS_AT_ONCE = 7


def rebuild_escalations(warehouse: Warehouse, *, from_scratch: bool = False) -> int:
    """Bring `escalations` in line with what was stored since the last time. Returns its rows.

    Args:
        from_scratch: derive all of them again, which repairs rows changed by hand.
    """
    settings = f"{DEFINITIONS} {warehouse.timezone}"
    with warehouse.transaction() as transaction:
        if _is_new(transaction, "escalations", settings) or from_scratch:
            transaction.execute("add_all_changed")
    while True:
        with warehouse.transaction() as transaction:
            taken = _count(transaction.execute("take_changed", most=CONVERSATIONS_AT_ONCE))
            if taken:
                zone = {"timezone": warehouse.timezone}
                transaction.execute("derive_escalations", **zone)
                transaction.execute("add_stale_days", **zone)
                transaction.execute("clear_escalations")
                transaction.execute("add_escalations")
                transaction.execute("drop_changed")
            if taken < CONVERSATIONS_AT_ONCE:
                return _count(transaction.execute("count_escalations"))


def rebuild_leads(warehouse: Warehouse) -> int:
    """Derive `leads` from `raw_conversations`. Returns the number of rows."""
    with warehouse.transaction() as transaction:
        transaction.execute("clear_leads")
        return _count(transaction.execute("rebuild_leads"))


def rebuild_metrics(
    warehouse: Warehouse,
    *,
    chat_id: int,
    days: Sequence[str],
    now: datetime,
    business_hours: BusinessHours | None = None,
    target_seconds: float | None = None,
    from_scratch: bool = False,
) -> list[str]:
    """Compute `escalation_metrics` and `activity_by_hour` for `days` (ISO dates), and again for the
    days stored before that have changed since; for all of them if a setting has, or `from_scratch`.

    Returns the days that were written: those asked for, and those whose numbers differ from what
    was stored.
    """
    settings = f"{DEFINITIONS} {warehouse.timezone} {business_hours} {target_seconds}"
    with warehouse.transaction() as transaction:
        if _is_new(transaction, f"metrics of chat {chat_id}", settings) or from_scratch:
            transaction.execute("add_all_stale", chat_id=chat_id)
        stale = [day for (day,) in transaction.execute("stale_days", chat_id=chat_id)]
    written = []
    for some in _pieces(sorted({*days, *stale}), DAYS_AT_ONCE):
        with warehouse.transaction() as transaction:
            transaction.execute(
                "metrics_days", {"wanted": _days(some)}, timezone=warehouse.timezone
            )
            _compute(
                transaction,
                first=some[0],
                timezone=warehouse.timezone,
                chat_id=chat_id,
                now=now,
                business_hours=business_hours,
                target_seconds=target_seconds,
            )
            transaction.execute("metrics_restated", {"asked": _days(days)}, chat_id=chat_id)
            for name in ("metrics", "hours"):
                transaction.execute(f"clear_{name}", chat_id=chat_id)
                transaction.execute(f"add_{name}", now=now)
            transaction.execute("clear_stale_days", chat_id=chat_id)
            transaction.execute("add_unfinished_days", chat_id=chat_id, now=now)
            written += [day for (day,) in transaction.execute("restated_days")]
    return written


def _compute(
    transaction: Transaction,
    *,
    first: str,
    timezone: str,
    chat_id: int,
    now: datetime,
    business_hours: BusinessHours | None,
    target_seconds: float | None,
) -> None:
    """Fill the temporary tables `computed` and `computed_hours` for `days`, which begin with
    `first`."""
    # A response may come long after the last day.
    hours = _hours(business_hours, date.fromisoformat(first), now.date())
    target = {"target_seconds": target_seconds}
    transaction.execute("metrics_messages", chat_id=chat_id)
    transaction.execute(
        "metrics_escalations",
        {"business_hours": hours},
        chat_id=chat_id,
        now=now,
        has_business_hours=business_hours is not None,
        **target,
    )
    transaction.execute("metrics_backlog", chat_id=chat_id, now=now)
    transaction.execute("metrics_computed")
    transaction.execute("metrics", chat_id=chat_id, **target)
    transaction.execute("metrics_hours", chat_id=chat_id, now=now, timezone=timezone)


def _is_new(transaction: Transaction, name: str, settings: str) -> bool:
    """Whether rows were last computed with other settings; these are remembered from now on."""
    if transaction.execute("stored_setting", name=name) == [(settings,)]:
        return False
    transaction.execute("store_setting", name=name, value=settings)
    return True


def _pieces(days: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(days), size):
        yield days[start : start + size]


def _days(days: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.Series(list(days), dtype="str")})


def _hours(business_hours: BusinessHours | None, first: date, last: date) -> pd.DataFrame:
    if business_hours is None:
        empty = pd.Series([], dtype="datetime64[us, UTC]")
        return pd.DataFrame({"opens_at": empty, "closes_at": empty})
    return business_hours.between(first - timedelta(days=1), last + timedelta(days=1))


def _count(answer: list[tuple[int]]) -> int:
    """DuckDB answers an insert with the number of its rows."""
    return answer[0][0]
