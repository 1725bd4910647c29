"""How single checks judge their evidence."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from zipchat_dagster.checks import activity
from zipchat_dagster.checks.fields import Drift, Seen, drift
from zipchat_dagster.checks.recency import absent_days, ranges
from zipchat_dagster_tests.conftest import NOW

# The API's newest activity


def shown(*hours_ago: float) -> list[dict[str, Any]]:
    return [
        {"id": i, "last_message_at": (NOW - timedelta(hours=hours)).isoformat()}
        for i, hours in enumerate(hours_ago)
    ]


@pytest.mark.parametrize(
    ("rows", "newest_hours_ago", "total", "lag_hours", "newer"),
    [
        # Only what is stored; then activity that is an hour old, and three.
        (shown(30), 30, None, 0, 0),
        (shown(1, 30), 30, None, 1, 1),
        (shown(0, 3, 30), 30, None, 3, 2),
        (shown(30, 3, 0), 30, 3, 3, 2),
        # A full page of a busy chat that shows the newest only: the oldest is not on it.
        (shown(*[n / 1000 for n in range(100)]), 5, None, 5, 100),
        (shown(*[n / 1000 for n in range(50)]), 5, 700, 5, 50),
        # The same, oldest first.
        (shown(*[4.9 - n / 1000 for n in range(100)]), 5, 700, 4.9, 100),
        # Nothing is stored.
        (shown(1, 0), None, None, 1, 2),
        ([], None, None, 0, 0),
        # Fields of the wrong type are another check's business.
        (
            [{"id": 1, "last_message_at": "soon"}, {"id": [], "last_message_at": None}],
            1,
            None,
            0,
            0,
        ),
    ],
)
def test_the_lag_is_how_long_the_oldest_newer_activity_waits(
    rows: list[dict[str, Any]],
    newest_hours_ago: float | None,
    total: int | None,
    lag_hours: float,
    newer: int,
) -> None:
    newest_at = None if newest_hours_ago is None else NOW - timedelta(hours=newest_hours_ago)
    verdict = activity.judge(rows, newest_at=newest_at, observed_at=NOW, total=total)
    assert verdict.metadata["lag_seconds"] == pytest.approx(lag_hours * 3600, abs=1)
    assert verdict.metadata["newer_conversations"] == newer
    assert verdict.passed == (lag_hours <= 2)


# Days


def test_days_in_a_row_are_one_range() -> None:
    found = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 5)]
    assert ranges(found) == ["2026-02-27 to 2026-03-01", "2026-03-05"]
    assert ranges([]) == []
    assert absent_days([], before=date(2026, 3, 1)) == []
    assert absent_days([date(2026, 3, 1)], before=date(2026, 3, 1)) == []


# Fields


def test_absence_means_nothing_among_few_records() -> None:
    few = [Seen("message", "", 19, 0), Seen("message", "id", 19, 0)]
    assert drift(few) == Drift([], [], [], [])
    enough = [Seen("message", "", 20, 0), Seen("message", "id", 20, 0)]
    assert "message.created_at" in drift(enough).absent


def test_a_field_that_some_earlier_records_had_may_be_absent() -> None:
    always = [Seen("user", name, 50, 100) for name in ("", "id", "email")]
    assert drift([*always, Seen("user", "role", 0, 90)]).gone == []
    assert drift([*always, Seen("user", "role", 0, 95)]).gone == ["user.role"]
