"""Numbers in words."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from zipchat_dagster.report import charts, formats
from zipchat_dagster.report.page import _change


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (90, "1.5 min"),
        (599, "10 min"),
        (3599, "1 h"),
        (12_600, "3.5 h"),
        (86_400, "24 h"),
        (172_800, "2 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_durations_are_in_the_unit_that_people_would_use(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds).replace("\u00a0", " ") == text


def test_counts_and_rates() -> None:
    assert [formats.count(value) for value in (None, 0, 1204, 3.14, 31.4)] == [
        "–", "0", "1,204", "3.1", "31",
    ]  # fmt: skip
    assert [formats.percent(value) for value in (None, 0, 0.0623, 1)] == [
        "–", "0.0%", "6.2%", "100.0%",
    ]  # fmt: skip


def test_a_span_of_days_says_no_more_than_it_must() -> None:
    assert formats.days(date(2026, 3, 2), date(2026, 3, 2)) == "2 Mar 2026"
    assert formats.days(date(2026, 3, 2), date(2026, 3, 8)) == "2 – 8 Mar 2026"
    assert formats.days(date(2026, 2, 25), date(2026, 3, 8)) == "25 Feb – 8 Mar 2026"
    assert formats.days(date(2025, 12, 25), date(2026, 1, 8)) == "25 Dec 2025 – 8 Jan 2026"


def test_changes_are_relative_for_counts_and_in_points_for_rates() -> None:
    assert _change(118, 100, in_points=False) == ("+18%", 1)
    assert _change(80, 100, in_points=False) == ("−20%", -1)
    assert _change(0.3, 0.25, in_points=True) == ("+5.0 points", 1)
    assert _change(0.3, 0.0, in_points=True) == ("+30.0 points", 1)
    assert _change(1000, 1001, in_points=False) == ("about the same", 0)
    assert _change(3, 0, in_points=False) == ("", 0)
    assert _change(None, 0.5, in_points=True) == ("", 0)


@pytest.mark.parametrize("days", [1, 2, 6, 7, 13, 14, 15, 30, 62])
def test_days_get_few_labels(days: int) -> None:
    ticks = charts._day_ticks([date(2026, 1, 28) + timedelta(days=n) for n in range(days)])
    assert 1 <= len(ticks) <= 5


@pytest.mark.parametrize("step", [7, 28])
@pytest.mark.parametrize("days", [63, 100, 365, 728, 2000, 5000])
def test_months_and_years_get_few_labels(days: int, step: int) -> None:
    steps = [date(2020, 1, 28) + timedelta(days=n) for n in range(0, days, step)]
    assert 1 <= len(charts._day_ticks(steps)) <= 6


@pytest.mark.parametrize("low", [1, 4, 50, 500, 3000, 40_000, 700_000, 8_000_000])
@pytest.mark.parametrize("factor", [2.55, 10, 1000, 100_000])
def test_every_range_of_durations_has_a_tick(low: float, factor: float) -> None:
    assert 1 <= len(charts._duration_ticks(low, low * factor)) <= 8
