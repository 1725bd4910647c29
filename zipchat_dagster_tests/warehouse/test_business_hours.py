"""`BusinessHours`: read from a text, and as spans of time over changes of the clock."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import ADA, Story

WEEK = (date(2026, 3, 2), date(2026, 3, 8))  # Monday to Sunday


def opening_times(
    text: str, zone: str = "UTC", first: date = WEEK[0], last: date = WEEK[1]
) -> list[str]:
    frame = BusinessHours.parse(text, zone).between(first, last)
    return [
        f"{row.opens_at:%a %d %H:%M}-{row.closes_at:%d %H:%M}"
        for row in frame.sort_values("opens_at").itertuples()
    ]


def hours_on(day: date, text: str, zone: str) -> float:
    frame = BusinessHours.parse(text, zone).between(day, day)
    return float((frame["closes_at"] - frame["opens_at"]).sum() / pd.Timedelta(hours=1))


def test_single_days_and_ranges_of_days_each_have_their_hours() -> None:
    assert opening_times("Mon-Wed 9:00-17:00,  sat 10:00-14:30") == [
        "Mon 02 09:00-02 17:00",
        "Tue 03 09:00-03 17:00",
        "Wed 04 09:00-04 17:00",
        "Sat 07 10:00-07 14:30",
    ]


def test_a_range_can_go_over_the_end_of_the_week_and_a_day_to_its_end() -> None:
    assert opening_times("sat-mon 22:00-24:00") == [
        "Mon 02 22:00-03 00:00",
        "Sat 07 22:00-08 00:00",
        "Sun 08 22:00-09 00:00",
    ]


def test_a_day_can_have_several_spans() -> None:
    assert opening_times("tue 13:00-18:00, tue 08:00-12:00") == [
        "Tue 03 08:00-03 12:00",
        "Tue 03 13:00-03 18:00",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "mon-tue 09:00-17:00, tue 12:00-20:00",
        "mon-tue 09:00-17:00, tue 17:00-20:00",
        "tue 10:00-11:00, mon-tue 09:00-17:00, tue 16:59-20:00, tue 09:00-17:00",
    ],
)
def test_spans_that_overlap_or_touch_are_one(text: str) -> None:
    """Else a wait in both would count twice."""
    assert opening_times(text) == ["Mon 02 09:00-02 17:00", "Tue 03 09:00-03 20:00"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "mon-fri",
        "09:00-17:00",
        "mon-fri 9-17",
        "mon-fri 17:00-09:00",
        "mon 09:00-09:00",
        "mon 09:60-10:00",
        "mon 09:00-24:01",
        "mon 09:00-25:00",
        "monday 09:00-17:00",
        "foo 09:00-17:00",
        "mon-foo 09:00-17:00",
        "mon 09:00-17:00,",
        "mon 09:00-17:00 sat 10:00-14:00",
        "mon 09:00 - 17:00",
        "mon 09:00-17:00; sat 10:00-14:00",
    ],
)
def test_malformed_business_hours_are_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the text itself
        BusinessHours.parse(text, "UTC")
    assert str(caught.value) == text


def test_no_days_have_no_opening_times() -> None:
    frame = BusinessHours.parse("mon 09:00-17:00", "UTC").between(
        date(2026, 3, 3), date(2026, 3, 3)
    )
    assert frame.empty
    assert list(frame.columns) == ["opens_at", "closes_at"]


def test_hours_are_wall_clock_times_before_and_after_a_clock_change() -> None:
    found = opening_times(
        "sat-mon 09:00-17:00", "Europe/Berlin", date(2026, 3, 28), date(2026, 3, 30)
    )
    assert found == ["Sat 28 08:00-28 16:00", "Sun 29 07:00-29 15:00", "Mon 30 07:00-30 15:00"]


@pytest.mark.parametrize(
    ("zone", "day", "text", "hours"),
    [
        ("UTC", date(2026, 3, 8), "sun 00:00-24:00", 24),
        ("America/New_York", date(2026, 3, 8), "sun 00:00-24:00", 23),
        ("America/New_York", date(2026, 3, 8), "sun 01:00-04:00", 2),
        ("America/New_York", date(2026, 3, 8), "sun 09:00-17:00", 8),
        ("America/New_York", date(2026, 11, 1), "sun 00:00-24:00", 25),
        ("Europe/Berlin", date(2026, 3, 29), "sun 00:00-24:00", 23),
        ("Europe/Berlin", date(2026, 10, 25), "sun 00:00-24:00", 25),
        ("Europe/Berlin", date(2026, 10, 25), "sun 01:30-03:30", 3),
    ],
)
def test_a_span_over_a_clock_change_is_longer_or_shorter_by_the_change(
    zone: str, day: date, text: str, hours: float
) -> None:
    assert hours_on(day, text, zone) == hours


def test_a_wait_over_a_clock_change_counts_the_hours_that_really_passed(place: Open) -> None:
    """Escalated on Saturday, 7 March, 20:00 in New York (01:00 UTC), answered on Sunday, 12:00."""
    story = Story(place, timezone="America/New_York")
    story.at("2026-03-08 01:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.at("2026-03-08 16:00")
    story.human(conversation_id, ADA)
    story.later(hours=1)
    story.sync()
    for hours, seconds in (
        ("sun-mon 00:00-24:00", 11 * 3600),
        ("sat-sun 18:00-24:00", 4 * 3600),
        ("sun 01:00-04:00", 2 * 3600),
        ("mon-fri 09:00-17:00", 0),
    ):
        parsed = BusinessHours.parse(hours, "America/New_York")
        story.derive("2026-03-07", business_hours=parsed)
        row = story.metrics("2026-03-07")
        assert row["first_response_seconds_p50"] == timedelta(hours=15).total_seconds()
        assert row["first_response_business_seconds_p50"] == seconds, hours
