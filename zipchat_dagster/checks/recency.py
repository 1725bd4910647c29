"""Checks of what ran and when, by partition.

A `FreshnessPolicy` looks at the newest materialization of any partition, so a backfill of an old
day turns it green. These checks look at the days themselves. They must also run when no sync does,
so they have a job of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import Final

import dagster as dg

from zipchat_dagster.checks.history import History
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
    """Whether today (or yesterday, early in the day) was materialized recently."""
    today, yesterday = history.today, history.today - timedelta(days=1)
    # In the first hours of a day, it is enough if yesterday was up to date until then.
    is_early = history.local.hour < PROMISED / timedelta(hours=1)
    counted = {day: at for day, at in history.newest.items() if day == today or is_early}
    newest = max(history.newest.values(), default=None)
    age = None if newest is None else history.at - newest
    passed = any(history.at - at <= PROMISED for at in counted.values())
    return Verdict(
        passed=passed,
        description=f"{today} was last materialized {_when(history.newest.get(today))},"
        f" {yesterday} {_when(history.newest.get(yesterday))}.",
        metadata={
            f"{name}_materialized_at": dg.MetadataValue.timestamp(history.newest[day])
            for name, day in (("today", today), ("yesterday", yesterday))
            if day in history.newest
        }
        | ({} if age is None else {"age_seconds": age.total_seconds()}),
        severity=ERROR if age is None or age > LOST else WARN,
    )


def _when(at: object) -> str:
    return "never" if at is None else f"at {at:%Y-%m-%d %H:%M UTC}"


TODAY_IS_UP_TO_DATE = Rule(
    "today_is_up_to_date",
    WARN,
    "Today's partition was materialized within the last 3 hours (until 03:00, yesterday's counts"
    " too). After 26 hours, the failure is an ERROR. A backfill of older days does not make it"
    " pass. If it fails, check that hourly_schedule is on and `dagster-daemon` is running, and"
    " why the last runs failed. The next run of today reads everything that was missed.",
    lambda evidence: today_is_up_to_date(evidence.history),
)


def every_day_was_materialized(history: History) -> Verdict:
    """Whether every day from the first one to yesterday was materialized."""
    missing = absent_days(history.days, before=history.today)
    return Verdict(
        passed=not missing,
        description=f"Days that were never materialized: {len(missing):,}"
        + (f" ({_ranges(missing)})." if missing else "."),
        metadata={
            "violations": len(missing),
            "missing": dg.MetadataValue.json(ranges(missing)[:NAMED_AT_MOST]),
            "days_materialized": len(history.days),
        },
    )


def absent_days(days: Collection[date], *, before: date) -> list[date]:
    """The days from the first of `days` up to `before`, exclusive, that are not among them."""
    first = min(days, default=before)
    span = (first + timedelta(days=n) for n in range((before - first).days))
    return [day for day in span if day not in days]


def ranges(days: Iterable[date]) -> list[str]:
    """Sorted days with consecutive ones joined: `2026-01-03`, `2026-01-05 to 2026-01-09`."""
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
    return ", ".join(found[:NAMED_AT_MOST]) + (f" and {more:,} more" if more > 0 else "")


EVERY_DAY_WAS_MATERIALIZED = Rule(
    "every_day_was_materialized",
    WARN,
    "Every day from the first materialized one to yesterday was materialized. If it fails, backfill"
    " the ranges named, with *Materialize all* on the asset graph or from the command line.",
    lambda evidence: every_day_was_materialized(evidence.history),
)


def _judge_closed_days(evidence: Evidence) -> Verdict:
    history = evidence.history
    if not history.days:
        return Verdict(True, "No day has been materialized yet.", {"violations": 0})
    closed = history.midnight((history.local - SETTLED).date())
    rows = evidence.rows(
        "check_closed_days",
        first=history.midnight(min(history.days)),
        closed=closed,
        most=NAMED_AT_MOST,
    )
    return offenders(rows, what="Conversations with unread messages on closed days")


CLOSED_DAYS_ARE_COMPLETE = Rule(
    "closed_days_are_complete",
    WARN,
    "The last messages of every conversation have been read, for all days that ended over 3 hours"
    " ago. If it fails, those days were materialized before they ended and not after: materialize"
    " raw_messages for the days named.",
    _judge_closed_days,
)
