"""The rows behind the report's figures, read from the tables in one short transaction."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.privacy import is_hash
from zipchat_dagster.warehouse.tables import sql

# Escalations with a link, and conversations that can be listed: the newest. A big chat's page stays
# at about 75 bytes per escalation beyond these, and its figures exact.
LISTED: Final = 20_000
TABLES: Final = ("days", "escalations", "waiting", "hours", "starts", "conversations", "agents")


def read_data(
    warehouse: Warehouse,
    *,
    chat_id: int,
    first: date,
    last: date,
    now: datetime,
    listed: int = LISTED,
) -> dict[str, Any]:
    """What the page computes from, ready for JSON.

    Args:
        first, last: the range of days in the warehouse's time zone, both included.
        now: an aware datetime; what happened after it is not counted.
        listed: how many escalations have a link and how many conversations are listed.

    Returns:
        The range, and under `tables` the columns and rows of each `report_<name>.sql`. `at` is in
        seconds since 1970, and `at + shift` in local time.
    """
    parameters = {
        "chat_id": chat_id,
        "first": first,
        "last": last,
        "now": now,
        "listed": listed,
    }
    with warehouse.transaction() as transaction:
        tables = {
            name: transaction.query(f"report_{name}", **_used(name, parameters)) for name in TABLES
        }
    return {
        "chat": chat_id,
        **clock(warehouse, now),
        "first": str(first),
        "last": str(last),
        "listed": listed,
        "tables": {name: plain_table(frame) for name, frame in tables.items()},
    }


def headline(data: dict[str, Any]) -> dict[str, float | None]:
    """The figures of the whole range that its metadata shows; None without anything to measure.

    Args:
        data: what `read_data` returned.
    """
    escalations, waiting, starts = (
        pd.DataFrame(table["rows"], columns=table["columns"])
        for table in (data["tables"][name] for name in ("escalations", "waiting", "starts"))
    )
    first = datetime.fromisoformat(data["first"]).replace(tzinfo=UTC).timestamp()
    began = escalations[escalations["at"] + escalations["shift"] >= first]
    response, resolution = (began[name].astype("float64") for name in ("response", "resolution"))
    started = starts["started"].sum()
    figures = {
        "conversations_started": started,
        "escalations": len(began),
        "escalation_rate": starts["escalated"].sum() / started if started else None,
        "first_response_seconds_p50": response.quantile(0.5),
        "first_response_seconds_p90": response.quantile(0.9),
        "resolution_seconds_p50": resolution.quantile(0.5),
        "resolution_rate": resolution.notna().mean(),
        "unanswered": response.isna().sum(),
        "open_now": escalations["duration"].isna().sum(),
        "waiting_now": len(waiting),
    }
    (row,) = plain_table(pd.DataFrame([figures]))["rows"]
    return dict(zip(figures, row, strict=True))


def measured_days(
    warehouse: Warehouse, *, chat_id: int, first: date, last: date
) -> tuple[date, date] | None:
    """The first and the last day from `first` to `last` that have metrics; None if none has."""
    with warehouse.transaction() as transaction:
        days = transaction.query("report_days", chat_id=chat_id, first=first, last=last)
    computed = days.loc[days["is_computed"], "day"]
    if computed.empty:
        return None
    return date.fromisoformat(computed.iloc[0]), date.fromisoformat(computed.iloc[-1])


def _used(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """DuckDB refuses parameters that a statement does not name."""
    return {key: value for key, value in parameters.items() if f"${key}" in sql(f"report_{name}")}


def clock(warehouse: Warehouse, now: datetime) -> dict[str, Any]:
    """The moment of a page and its zone, ready for JSON."""
    offset = now.astimezone(ZoneInfo(warehouse.timezone)).utcoffset()
    assert offset is not None
    return {
        "timezone": warehouse.timezone,
        "now": now.timestamp(),
        "shift": offset.total_seconds(),
    }


def plain_table(frame: pd.DataFrame) -> dict[str, Any]:
    """The columns and rows of a frame, ready for JSON: NULL is None, and 90.0 is 90 in a column of
    whole numbers."""
    for column in {"link", "name"}.intersection(frame):  # a hash is neither
        frame[column] = [None if is_hash(str(value)) else value for value in frame[column]]
    rows = json.loads(frame.convert_dtypes().to_json(orient="values"))
    return {"columns": list(frame.columns), "rows": rows}
