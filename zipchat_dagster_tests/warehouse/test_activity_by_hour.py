"""`activity_by_hour` against plain Python on the raw tables, in zones whose clocks change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.support import ADA, RandomChat, Story, moment

COUNTS = (
    "conversations_started",
    "customer_messages",
    "ai_messages",
    "human_messages",
    "escalations",
    "resolved",
)
Key = tuple[datetime, str]  # when the hour began in local time, and all or the channel


def happenings(story: Story) -> Iterator[tuple[str, datetime, str, Any]]:
    """What happened, when, in which channel, and which agent wrote it."""
    for at, channel in story.rows("select created_at, channel from zipchat.raw_conversations"):
        yield "conversations_started", at, channel, None
    for at, channel, role, is_human, sender in story.rows(
        "select message.created_at, channel, role, manual_reply, sender_id"
        " from zipchat.raw_messages as message inner join zipchat.raw_conversations"
        " using (conversation_id)"
    ):
        if is_human:
            yield "human_messages", at, channel, sender
        elif role in ("user", "assistant"):
            yield ("customer_messages" if role == "user" else "ai_messages"), at, channel, None
    for at, resolved_at, channel in story.rows(
        "select escalated_at, resolved_at, channel from zipchat.escalations"
    ):
        yield "escalations", at, channel, None
        if resolved_at is not None:
            yield "resolved", resolved_at, channel, None


def hours_up_to(now: datetime, first: str, zone: ZoneInfo) -> Iterator[datetime]:
    """Every local hour from the day `first` on; a repeated one occurs with each fold."""
    at = moment(f"{first} 00:00") - timedelta(hours=30)
    while at <= now:
        local = at.astimezone(zone)
        if local.minute == local.second == 0 and f"{local:%Y-%m-%d}" >= first:
            yield local
        at += timedelta(minutes=15)


def begin_of(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(minute=0, second=0, microsecond=0)


def expected(chat: RandomChat) -> dict[tuple[float, str], dict[str, int]]:
    story, zone = chat.story, ZoneInfo(chat.story.warehouse.timezone)
    counts: dict[tuple[float, str], Counter[str]] = defaultdict(Counter)
    agents: dict[tuple[float, str], set[Any]] = defaultdict(set)
    for hour in hours_up_to(story.now, chat.days[0], zone):
        counts[hour.timestamp(), "all"]  # also if nothing happened
    for what, at, channel, agent in happenings(story):
        hour = begin_of(at, zone)
        if f"{hour:%Y-%m-%d}" < chat.days[0]:
            continue
        for name in ("all", channel or "unknown"):
            counts[hour.timestamp(), name][what] += 1
            agents[hour.timestamp(), name] |= {agent} - {None}
    waits = story.rows(
        "select epoch(escalated_at), coalesce(epoch(ended_at), 1e18),"
        " coalesce(channel, 'unknown') from zipchat.escalations"
    )
    now = story.now.timestamp()
    return {
        (hour, name): {
            **{column: count[column] for column in COUNTS},
            "active_agents": len(agents[hour, name]),
            "open_at_end": sum(
                name in ("all", channel)
                and (begins < hour + 3600 and begins <= now)
                and (ends >= hour + 3600 or ends > now)
                for begins, ends, channel in waits
            ),
        }
        for (hour, name), count in counts.items()
    }


def test_python_counts_the_same_for_random_chats(random_chat: RandomChat) -> None:
    zone = ZoneInfo(random_chat.story.warehouse.timezone)
    rows = random_chat.story.frame("from zipchat.activity_by_hour").to_dict("records")
    found = {(row["hour_start"].timestamp(), row["dimension_value"]): row for row in rows}
    assert len(found) == len(rows)
    wanted = expected(random_chat)
    assert set(found) == set(wanted)
    for key, row in found.items():
        assert {column: row[column] for column in wanted[key]} == wanted[key], key
        local = row["hour_start"].to_pydatetime().astimezone(zone)
        assert (row["weekday"], row["hour"]) == (local.isoweekday(), local.hour)
        assert f"{row['partition_date']:%Y-%m-%d}" == f"{local:%Y-%m-%d}"
    # Without these the comparison would prove little.
    for column in wanted[max(wanted)]:
        assert len({row[column] for row in wanted.values()}) > 1, column


@pytest.mark.parametrize(
    ("zone", "day", "hours", "twice"),
    [
        ("America/New_York", "2026-03-08", 23, None),
        ("America/New_York", "2026-11-01", 25, 1),
        ("Atlantic/Azores", "2026-10-25", 25, 0),
        ("Asia/Kolkata", "2026-03-08", 24, None),
    ],
)
def test_an_hour_that_the_clocks_repeat_has_two_rows_and_one_that_they_skip_has_none(
    place: Open, zone: str, day: str, hours: int, twice: int | None
) -> None:
    """A customer writes every hour, at a quarter to or a quarter past."""
    story = Story(place, timezone=zone)
    story.at(f"{moment(f'{day} 00:15') - timedelta(hours=15):%Y-%m-%d %H:%M}")
    conversation_id = story.start()
    for _ in range(60):
        story.later(hours=1)
        story.customer(conversation_id)
    story.sync()
    story.derive(day)
    rows = story.rows("select hour, customer_messages from zipchat.activity_by_hour order by all")
    local = Counter(hour for hour, _ in rows)
    assert len(rows) == 2 * hours  # all and web
    assert {hour for hour, count in local.items() if count == 4} == ({twice} - {None})
    assert story.rows(
        "select distinct minute(timezone($zone, hour_start)) from zipchat.activity_by_hour",
        zone=zone,
    ) == [(0,)]
    assert {messages for _, messages in rows} == {1}


def test_late_events_restate_the_hours_of_their_day(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-02 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.at("2026-03-03 12:00")
    story.sync()
    story.derive("2026-03-02", "2026-03-03")
    story.at("2026-03-04 12:00")
    story.sync()
    story.derive()
    story.chat.resolve(conversation_id, at=moment("2026-03-03 09:30"))
    story.chat.add_message(
        conversation_id,
        at=moment("2026-03-03 09:15"),
        role="assistant",
        manual_reply=True,
        sender_id=ADA,
    )
    story.later(hours=1)
    story.sync(refresh=True)
    assert story.derive() == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert story.rows(
        "select hour, human_messages, active_agents, resolved, open_at_end"
        " from zipchat.activity_by_hour where partition_date = '2026-03-03' and dimension = 'all'"
        " and hour between 8 and 10 order by hour"
    ) == [(8, 0, 0, 0, 1), (9, 1, 1, 1, 0), (10, 0, 0, 0, 0)]

    # Days whose metrics are as before are stored again too, if their hours are not.
    before = story.rows("select count(*) from zipchat.activity_by_hour")
    story.rows("delete from zipchat.activity_by_hour where partition_date < '2026-03-04'")
    rebuild_metrics(
        story.warehouse, chat_id=1, days=[], now=story.now, rules=Rules(), from_scratch=True
    )
    assert story.rows("select count(*) from zipchat.activity_by_hour") == before
