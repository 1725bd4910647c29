"""Progress lines and finished days of a long fetch."""

from __future__ import annotations

import logging
import re

import pytest

from zipchat_dagster.progress import Calendar, Progress, duration, named
from zipchat_dagster_tests.conftest import LOG, Project


def test_a_line_every_half_minute_says_what_is_done_and_what_is_left(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="zipchat_dagster"), project.client() as client:
        progress = Progress(client, LOG, "Conversations read")
        for done in range(1, 131):
            client.get_conversations_page()
            project.clock.sleep(2)
            progress.report(done, total=130)
    lines = [line for line in caplog.messages if "Conversations read" in line]
    assert len(lines) == 130 * 2 // 30
    assert lines[0] == (
        "Conversations read: 15 of 130, about 4 min left. Requests: 15 (30 a minute)."
    )
    assert re.search(r"120 of 130, about 20 s left\.", lines[-1])


def test_without_a_total_no_remaining_time_is_given(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="zipchat_dagster"), project.client() as client:
        progress = Progress(client, LOG, "Conversations listed")
        project.clock.sleep(60)
        progress.report(200, total=None)
    assert caplog.messages[-1] == "Conversations listed: 200. Requests: 0 (0 a minute)."


def test_days_are_reported_in_order_once_nothing_before_them_is_outstanding() -> None:
    reported: list[str] = []
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    calendar = Calendar(days, ["2026-01-01", "2026-01-02", "2026-01-02"], reported.append)
    calendar.done(["2026-01-02"])
    assert reported == []
    calendar.done(["2026-01-01"])
    assert reported == ["2026-01-01"]
    calendar.done(["2026-01-02"])
    assert reported == days


@pytest.mark.parametrize(
    ("seconds", "text"), [(95, "95 s"), (720, "12 min"), (12_000, "3 h 20 min")]
)
def test_durations_are_worded_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_list_of_ids_is_cut() -> None:
    assert named([1, 2]) == "1, 2"
    assert named(list(range(25))).endswith("18, 19 and 5 more")
