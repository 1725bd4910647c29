"""`escalation_metrics`: random days computed in another way, and cases at the edge of a definition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from zipchat_dagster.warehouse import schema_tables
from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.metrics_by_hand import MetricsByHand
from zipchat_dagster_tests.warehouse.support import (
    ADA,
    METRICS,
    RandomChat,
    Story,
    days_between,
    moment,
)


def test_pandas_computes_the_same_for_random_chats(random_chat: RandomChat) -> None:
    """Twelve days of a chat that changes, some of them around a change of the clocks."""
    by_hand, story = MetricsByHand(random_chat), random_chat.story
    rows = story.dicts("from zipchat.escalation_metrics order by partition_date")
    found: dict[str, dict[tuple[str, str], Any]] = {}
    for row in rows:
        slices = found.setdefault(f"{row['partition_date']}", {})
        slices[row["dimension"], row["dimension_value"]] = {name: row[name] for name in METRICS}
    assert sum(map(len, found.values())) == len(rows)
    assert [*found] == [*random_chat.days]
    for day, slices in found.items():
        expected = by_hand.of_day(day)
        assert slices.keys() == expected.keys(), day
        for key, figures in expected.items():
            assert slices[key] == pytest.approx(figures, abs=1e-8), (day, key)

    # Without these the comparison would prove little.
    derived = by_hand.escalations
    assert len(derived) >= 8
    assert derived["resolved_at"].notna().any()
    assert derived["is_further"].any()
    assert (derived["agent"] == "unassigned").any()
    for table, condition in (
        ("escalations", "superseded_at is not null"),
        ("escalations", "assignee_id is null and first_responder_id is not null"),
        ("raw_conversations", "channel is null"),
        ("raw_messages", "manual_reply and sender_id is null"),
    ):
        assert story.value(f"select count(*) from zipchat.{table} where {condition}"), condition


# Days and their edges


@pytest.mark.parametrize(
    ("zone", "day", "starts", "ends"),
    [
        ("America/New_York", "2026-03-08", "2026-03-08 05:00", "2026-03-09 04:00"),  # 23 hours
        ("America/New_York", "2026-11-01", "2026-11-01 04:00", "2026-11-02 05:00"),  # 25 hours
        ("Europe/Berlin", "2026-10-25", "2026-10-24 22:00", "2026-10-25 23:00"),
        ("Asia/Kolkata", "2026-03-08", "2026-03-07 18:30", "2026-03-08 18:30"),
        # The clocks go back from 01:00 to 00:00: midnight comes twice.
        ("Atlantic/Azores", "2026-10-25", "2026-10-25 00:00", "2026-10-26 01:00"),
        # They go forward from 00:00 to 01:00: there is no midnight.
        ("Africa/Cairo", "2026-04-24", "2026-04-23 22:00", "2026-04-24 21:00"),
    ],
)
def test_a_day_begins_and_ends_by_its_time_zone(
    place: Open, zone: str, day: str, starts: str, ends: str
) -> None:
    """Four conversations, each escalated as it begins and open ever since: a second before the
    day, at its first moment, in its last second, at the next day's first moment."""
    second = timedelta(seconds=1)
    edges = [moment(starts) - second, moment(starts), moment(ends) - second, moment(ends)]
    story = Story(place, timezone=zone)
    for edge in edges:
        story.at(edge.isoformat(sep=" ")[:19])
        story.escalate(story.start())
    story.later(days=3)
    story.sync()
    before, after = (f"{pd.Timestamp(day) + timedelta(days=n):%Y-%m-%d}" for n in (-1, 1))
    story.derive(before, day, after)
    for table in ("raw_conversations", "raw_messages", "escalations"):
        assert story.rows(
            f"select strftime(partition_date, '%Y-%m-%d') from zipchat.{table} order by 1"
        ) == [(before,), (day,), (day,), (after,)]
    length = (moment(ends) - moment(starts)).total_seconds()
    for name, started, backlog, oldest in (
        (before, 1, 1, 1),
        (day, 2, 3, length + 1),
    ):
        row = story.metrics(name)
        assert row["conversations_started"] == row["conversations_active"] == started
        assert row["escalations"] == row["customer_messages"] == started
        assert (row["backlog_at_day_end"], row["backlog_age_seconds_max"]) == (backlog, oldest)


def test_an_escalation_that_ends_at_midnight_was_open_when_the_day_ended(place: Open) -> None:
    """The day is half-open, as its escalations are: at its end means just before midnight."""
    story = Story(place)
    story.play("""
        03-03 22:00     A start, A escalate
        03-04 00:00     A resolve
        03-04 01:00     sync
    """)
    story.derive("2026-03-03", "2026-03-04")
    assert story.metrics("2026-03-03")["backlog_age_seconds_max"] == 7200
    assert story.metrics("2026-03-04")["backlog_at_day_end"] == 0


def test_todays_backlog_is_the_current_one_and_a_future_day_has_none(place: Open) -> None:
    story = Story(place)
    story.play("""
        03-03 10:00     A start, A escalate
        03-03 12:00     sync
    """)
    story.derive("2026-03-03", "2026-03-04")
    today, tomorrow = story.metrics("2026-03-03"), story.metrics("2026-03-04")
    assert (today["backlog_at_day_end"], today["backlog_age_seconds_max"]) == (1, 7200)
    assert (tomorrow["backlog_at_day_end"], tomorrow["backlog_age_seconds_max"]) == (0, None)


def test_another_time_zone_moves_stored_records_to_other_days(place: Open) -> None:
    story = Story(place)
    story.play("""
        03-03 23:30     A start, A escalate  # the 4th in Berlin
        03-04 00:30     sync
    """)
    assert story.derive("2026-03-03", "2026-03-04") == ["2026-03-03", "2026-03-04"]
    assert story.metrics("2026-03-03")["escalations"] == 1

    story.warehouse = place(timezone="Europe/Berlin")
    assert story.derive() == ["2026-03-03", "2026-03-04"]
    for day, expected in (("2026-03-03", 0), ("2026-03-04", 1)):
        row = story.metrics(day)
        assert row["conversations_started"] == row["escalations"] == expected
        assert row["customer_messages"] == expected


def test_an_empty_chat_has_every_table_and_a_row_of_nothing(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    assert story.run() == ["2026-03-03"]
    for table in schema_tables():
        expected = {
            "escalation_metrics": 1,
            "users": 3,
            "listing_coverage": 1,
            "activity_by_hour": 11,  # of today, until 10:00
            "warehouse_settings": 4,
            "stale_days": 1,  # today
        }.get(table, 0)
        assert story.value(f"select count(*) from zipchat.{table}") == expected
    row = story.metrics("2026-03-03")
    assert {row[column] for column in METRICS} == {0, None}
    assert row["escalation_rate"] is row["first_response_seconds_p50"] is None


# Cases at the edge of a definition


def test_a_resolution_in_the_second_of_the_escalation_ends_it(place: Open) -> None:
    story = Story(place)
    story.play("03-03 10:00     A start, A escalate, A resolve")
    story.later(hours=1)
    story.run()
    row = story.metrics("2026-03-03")
    assert (row["resolved"], row["still_open"], row["backlog_at_day_end"]) == (1, 0, 0)
    assert row["resolution_seconds_p50"] == row["resolution_seconds_mean"] == 0


def test_fields_that_the_api_leaves_out_count_as_unknown(place: Open) -> None:
    """No channel, a manual reply without a sender, a message without role, a conversation without
    any message."""
    story = Story(place)
    story.at("2026-03-03 10:00")
    silent, odd = story.start(), story.start()
    story.escalate(silent)
    story.chat.conversations[silent].messages.clear()
    story.chat.conversations[odd].channel = None  # type: ignore[assignment]
    story.customer(odd, role=None)
    story.escalate(odd)
    story.later(minutes=5)
    story.human(odd, None)
    story.later(minutes=1)
    story.human(odd, ADA)  # the first responder is unknown, not Ada
    story.later(hours=1)
    story.run()
    row = story.metrics("2026-03-03")
    assert (row["conversations_started"], row["conversations_active"]) == (2, 2)
    assert (row["escalated_conversations"], row["escalation_rate"]) == (2, 1.0)
    assert (row["customer_messages"], row["ai_messages"], row["human_messages"]) == (1, 0, 2)
    assert story.metrics("2026-03-03", "channel", "unknown")["human_messages"] == 2
    nobody = story.metrics("2026-03-03", "agent", "unassigned")
    assert (nobody["escalations"], nobody["unanswered"], nobody["human_messages"]) == (2, 1, 1)
    assert nobody["first_response_seconds_p50"] == 300
    ada = story.metrics("2026-03-03", "agent", f"{ADA}")
    assert (ada["escalations"], ada["human_messages"]) == (0, 1)


def test_an_escalation_makes_its_conversation_active(place: Open) -> None:
    """Just after midnight, a day after the conversation's last message."""
    story = Story(place)
    story.play("""
        03-03 23:50     A start
        03-04 00:01     A escalate, B start email
        03-04 01:01     sync
    """)
    story.derive("2026-03-03", "2026-03-04")
    row = story.metrics("2026-03-04")
    assert (row["conversations_active"], row["escalated_conversations"]) == (2, 1)
    assert (row["escalation_rate"], row["containment_rate"]) == (0.5, 0.5)
    assert story.metrics("2026-03-04", "channel", "web")["escalation_rate"] == 1


def test_a_response_misses_its_target_only_once_it_is_due(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    answered, late, ended, gone, waiting, young = (story.start() for _ in range(6))
    for conversation_id in (answered, late, ended, gone, waiting):
        story.escalate(conversation_id)
    story.at("2026-03-03 10:30")
    story.human(answered, ADA)
    story.resolve(ended)
    story.sync()
    story.chat.delete_conversation(gone, at=story.now)
    story.escalate(young)

    def within_target() -> tuple[float, int]:
        story.sync(refresh=True)
        story.derive(response_target_seconds=3600)
        row = story.metrics("2026-03-03")
        return row["answered_within_target_rate"], row["pending_within_target"]

    story.at("2026-03-03 10:59:59")
    assert within_target() == (1 / 3, 3)  # answered; ended and gone are due
    story.at("2026-03-03 11:00")
    assert within_target() == (1 / 5, 1)  # late and waiting are due too
    story.at("2026-03-03 11:10")
    story.human(late, ADA)
    story.human(young, ADA)
    assert within_target() == (2 / 6, 0)


def test_a_response_on_a_past_day_becomes_due_as_time_passes(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 23:00")
    story.escalate(story.start())
    story.later(minutes=5)
    story.sync()
    two_hours = {"response_target_seconds": 7200}
    story.derive(**two_hours)
    for clock, restated in (
        ("00:30", ["2026-03-03"]),  # the day is over
        ("00:50", []),
        ("01:00", ["2026-03-03"]),  # the response is due
        ("02:00", []),
    ):
        story.at(f"2026-03-04 {clock}")
        assert story.derive(**two_hours) == [*restated, "2026-03-04"], clock
    row = story.metrics("2026-03-03")
    assert (row["answered_within_target_rate"], row["pending_within_target"]) == (0, 0)


def test_a_missing_conversation_counts_as_open_until_it_went_missing(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.run()
    assert story.metrics("2026-03-03")["still_open"] == 1
    story.at("2026-03-05 10:00")
    story.chat.delete_conversation(conversation_id, at=story.now)
    story.sync(refresh=True)
    assert story.derive(*days_between("2026-03-04", "2026-03-05")) == [
        "2026-03-03",
        "2026-03-04",
        "2026-03-05",
    ]
    assert [
        (row["still_open"], row["escalations"], row["backlog_at_day_end"])
        for row in map(story.metrics, days_between("2026-03-03", "2026-03-05"))
    ] == [(0, 1, 1), (0, 0, 1), (0, 0, 0)]


def test_two_chats_in_one_file_are_kept_apart(place: Open) -> None:
    one = Story(place)
    two = Story(place)
    two.chat.chat_id = 2
    for story, count in ((one, 1), (two, 2)):
        story.at("2026-03-03 10:00")
        for _ in range(count):
            story.escalate(story.start())
        story.later(hours=1)
        story.run()
    rebuild_metrics(one.warehouse, chat_id=1, days=["2026-03-03"], now=one.now, rules=Rules())
    assert one.rows(
        "select chat_id, escalations, backlog_at_day_end from zipchat.escalation_metrics"
        " where dimension = 'all' order by 1"
    ) == [(1, 1, 1), (2, 2, 2)]
