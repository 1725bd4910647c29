"""Checks of what ran and when, by partition.

A `FreshnessPolicy` looks at the newest materialization of any partition, so a backfill of an old
day turns it green. These look at the days themselves. They must also run where nothing else does:
by a job of their own, beside the one that they watch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import Final

import dagster as dg

from zipchat_dagster.checks.history import History, midnight
from zipchat_dagster.checks.rules import (
    ERROR,
    NAMED_AT_MOST,
    WARN,
    Evidence,
    Rule,
    Verdict,
    offenders,
)

PROMISED: Final = timedelta(hours=3)  # hourly runs, two of which may fail
LOST: Final = timedelta(hours=26)  # a day, and the time to close it
SETTLED: Final = timedelta(hours=3)  # after its end a day counts as closed


def today_is_up_to_date(history: History) -> Verdict:
    """Whether today, or early on yesterday, was materialized a short time ago."""
    today, yesterday = history.today, history.today - timedelta(days=1)
    # In the first hours of a day it is enough that yesterday was kept up to then.
    is_early = history.local.hour < PROMISED / timedelta(hours=1)
    counted = {day: at for day, at in history.newest.items() if day == today or is_early}
    newest = max(history.newest.values(), default=None)
    age = None if newest is None else history.at - newest
    passed = any(history.at - at <= PROMISED for at in counted.values())
    return Verdict(
        passed=passed,
        description=f"{today} was last materialized {_told(history.newest.get(today))},"
        f" {yesterday} {_told(history.newest.get(yesterday))}.",
        metadata={
            f"{name}_materialized_at": dg.MetadataValue.timestamp(history.newest[day])
            for name, day in (("today", today), ("yesterday", yesterday))
            if day in history.newest
        }
        | ({} if age is None else {"age_seconds": age.total_seconds()}),
        severity=ERROR if age is None or age > LOST else WARN,
    )


def _told(at: object) -> str:
    return "never" if at is None else f"at {at:%Y-%m-%d %H:%M UTC}"


TODAY_IS_UP_TO_DATE = Rule(
    "today_is_up_to_date",
    WARN,
    "Today's partition was materialized within the last 3 hours (until 03:00, yesterday's counts"
    " too); an ERROR after 26. A backfill of older days does not make it pass. When it fails, see"
    " whether hourly_schedule is on, `dagster-daemon` runs, and why the last runs failed; the next"
    " run of today brings everything that was missed.",
    lambda evidence: today_is_up_to_date(evidence.history),
)


def every_day_was_materialized(history: History) -> Verdict:
    """Whether no day between the first one and today is missing."""
    missing = absent_days(history.days, before=history.today)
    return Verdict(
        passed=not missing,
        description=f"{len(missing):,} days were never materialized"
        + (f": {_ranges(missing)}" if missing else "")
        + ".",
        metadata={
            "offenders": len(missing),
            "missing": dg.MetadataValue.json(ranges(missing)[:NAMED_AT_MOST]),
            "days_materialized": len(history.days),
        },
    )


def absent_days(days: Collection[date], *, before: date) -> list[date]:
    """The days between the first of `days` and `before` that are not among them."""
    first = min(days, default=before)
    span = (first + timedelta(days=n) for n in range((before - first).days))
    return [day for day in span if day not in days]


def ranges(days: Iterable[date]) -> list[str]:
    """`2026-01-03`, `2026-01-05 to 2026-01-09`: days in order, those that follow put together."""
    spans: list[list[date]] = []
    for day in days:
        if spans and day - spans[-1][-1] == timedelta(days=1):
            spans[-1][1:] = [day]
        else:
            spans.append([day])
    return [" to ".join(day.isoformat() for day in span) for span in spans]


def _ranges(days: Iterable[date]) -> str:
    found = ranges(days)
    more = len(found) - NAMED_AT_MOST
    return ", ".join(found[:NAMED_AT_MOST]) + (f" and {more:,} more ranges" if more > 0 else "")


EVERY_DAY_WAS_MATERIALIZED = Rule(
    "every_day_was_materialized",
    WARN,
    "From the first day that was ever materialized to yesterday, every one was. When it fails,"
    " backfill the ranges named: select them on the asset's page, or `dagster job launch` with a"
    " partition range.",
    lambda evidence: every_day_was_materialized(evidence.history),
)


def _judge_closed_days(evidence: Evidence) -> Verdict:
    history = evidence.history
    if not history.days:
        return Verdict(True, "No day was ever materialized.", {"offenders": 0})
    closed = midnight((history.local - SETTLED).date())
    rows = evidence.rows(
        "check_closed_days",
        first=midnight(min(history.days)),
        closed=closed,
        timezone=evidence.timezone,
        most=NAMED_AT_MOST,
    )
    return offenders(rows, what="conversations have messages of closed days still to be read")


CLOSED_DAYS_ARE_COMPLETE = Rule(
    "closed_days_are_complete",
    WARN,
    "Of the days that ended over 3 hours ago, no conversation's last messages are still to be read."
    " When it fails, those days were materialized before their end and not after it: materialize"
    " raw_messages for the days named.",
    _judge_closed_days,
)
