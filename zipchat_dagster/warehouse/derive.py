"""What is derived from the raw tables, without a request: escalations, leads, metrics.

Each function rebuilds its table in one transaction; the same raw tables give the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pandas as pd

from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.warehouse import Warehouse


def rebuild_escalations(warehouse: Warehouse) -> int:
    """Derive `escalations` from the history of what was seen. Returns the number of rows."""
    with warehouse.transaction() as transaction:
        transaction.execute("clear_escalations")
        return _count(transaction.execute("rebuild_escalations", timezone=warehouse.timezone))


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
) -> list[str]:
    """Compute `escalation_metrics` for `days` (ISO dates), and anew for every day stored before
    whose numbers have changed since. Returns the days that were written."""
    with warehouse.transaction() as transaction:
        first, last = transaction.execute(
            "metrics_span", chat_id=chat_id, first=days[0], last=days[-1]
        )[0]
        # A response may come long after the last day asked for.
        hours = _hours(business_hours, first, now.date())
        transaction.execute(
            "metrics",
            {"business_hours": hours},
            chat_id=chat_id,
            timezone=warehouse.timezone,
            first=first,
            last=last,
            now=now,
            has_business_hours=business_hours is not None,
            target_seconds=target_seconds,
        )
        restated = transaction.query("restated_days", chat_id=chat_id, first=days[0], last=days[-1])
        transaction.execute("clear_metrics", {"restated": restated}, chat_id=chat_id)
        transaction.execute("add_metrics", {"restated": restated}, now=now)
        return list(restated["day"])


def _hours(business_hours: BusinessHours | None, first: date, last: date) -> pd.DataFrame:
    if business_hours is None:
        empty = pd.Series([], dtype="datetime64[us, UTC]")
        return pd.DataFrame({"opens_at": empty, "closes_at": empty})
    return business_hours.between(first - timedelta(days=1), last + timedelta(days=1))


def _count(answer: list[tuple[int]]) -> int:
    """DuckDB answers an insert with the number of its rows."""
    return answer[0][0]
