"""The numbers against the same ones computed with pandas from the frames that were stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from zipchat_dagster.report.numbers import Numbers, number, read_numbers
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.report.conftest import CHAT_ID, FIRST, LAST, NOW, ZONE, World


def read(world: World, first: date = FIRST, last: date = LAST, now: datetime = NOW) -> Numbers:
    return read_numbers(world.warehouse, chat_id=CHAT_ID, first=first, last=last, now=now)


def test_the_totals_of_the_range(world: World) -> None:
    numbers = read(world)
    assert numbers.totals == pytest.approx(expected_totals(world, FIRST, LAST, NOW))
    target = 6 * 3600.0
    numbers = read_numbers(
        world.warehouse, chat_id=CHAT_ID, first=FIRST, last=LAST, now=NOW, target_seconds=target
    )
    assert numbers.totals == pytest.approx(expected_totals(world, FIRST, LAST, NOW, target))
    assert numbers.totals["pending_within_target"]
    assert numbers.totals["escalations"] > 30  # type: ignore[operator]


def test_the_preceding_range_is_taken_as_it_stood_then(world: World) -> None:
    preceding = read(world).preceding
    then = datetime(2026, 3, 1, 17, tzinfo=ZoneInfo(ZONE))  # 30 days before, by the clock there
    first, last = FIRST - timedelta(days=30), FIRST - timedelta(days=1)
    assert preceding == pytest.approx(expected_totals(world, first, last, then))


def test_there_is_no_comparison_with_days_that_were_not_computed(world: World) -> None:
    assert read(world, first=LAST - timedelta(days=39)).preceding is None
    assert read(world, first=LAST - timedelta(days=36)).preceding is not None


def test_days_have_the_metrics_and_exact_percentiles_of_their_own(world: World) -> None:
    steps = read(world).steps
    assert list(steps["first_day"].dt.date) == [FIRST + timedelta(days=n) for n in range(30)]
    for step in steps.to_dict("records"):
        day = step["first_day"].date()
        totals = expected_totals(world, day, day, NOW)
        assert number(step["conversations_active"]) == totals["conversations_active"]
        assert number(step["escalations"]) == totals["escalations"]
        for name in ("escalation_rate", "first_response_seconds_p90", "resolution_seconds_p50"):
            assert number(step[name]) == pytest.approx(totals[name])
        end = pd.Timestamp(day + timedelta(days=1)).tz_localize(ZONE)
        at = min(end, pd.Timestamp(NOW))
        assert number(step["backlog_at_end"]) == len(waiting(world, at))


def test_a_long_range_is_in_weeks_counted_back_from_its_end(world: World) -> None:
    numbers = read(world, first=LAST - timedelta(days=69))
    steps = numbers.steps
    assert numbers.step_days == 7
    assert list(steps["last_day"].dt.date) == [LAST - timedelta(weeks=n) for n in range(9, -1, -1)]
    week = expected_totals(world, LAST - timedelta(days=6), LAST, NOW)
    last = steps.iloc[-1]
    assert last["escalations"] == week["escalations"]
    assert last["first_response_seconds_p50"] == pytest.approx(week["first_response_seconds_p50"])
    assert last["backlog_at_end"] == week["open_now"]
    active = active_by_day(world)
    days = [active.get(LAST - timedelta(days=n), 0) for n in range(7)]
    assert last["conversations_active"] == pytest.approx(sum(days) / 7)


def test_a_step_may_begin_short_and_days_to_come_are_gaps(world: World) -> None:
    numbers = read(world, first=LAST - timedelta(days=64), last=LAST + timedelta(days=2))
    steps = numbers.steps
    assert (steps["last_day"] - steps["first_day"]).dt.days.tolist() == [3] + [6] * 9
    numbers = read(world, last=LAST + timedelta(days=2))
    assert numbers.steps["conversations_active"].isna().tolist() == [False] * 30 + [True] * 2


def test_channels(world: World) -> None:
    channels = read(world).channels.set_index("channel")
    messages = between(world.messages, FIRST, LAST).merge(
        world.conversations[["conversation_id", "channel"]], on="conversation_id"
    )
    escalated = between(world.escalations, FIRST, LAST).fillna({"channel": "unknown"})
    both = pd.concat([messages.fillna({"channel": "unknown"}), escalated])
    active = both.groupby("channel")["conversation_id"].nunique()
    by_channel = escalated.groupby("channel")["conversation_id"]
    assert channels["conversations_active"].to_dict() == active.to_dict()
    assert channels["escalations"].to_dict() == by_channel.size().to_dict()
    rate = by_channel.nunique() / active
    assert channels["escalation_rate"].to_dict() == pytest.approx(rate.to_dict())


def test_agents(world: World) -> None:
    agents = read(world).agents.set_index("name")
    names = {1: "Ada Agent", 2: "Bo Agent", 3: "Chloé Agent", 4: "Dana Gone", 0: "unassigned"}
    escalated = between(world.escalations, FIRST, LAST).copy()
    escalated["agent"] = escalated["assignee_id"].fillna(escalated["first_responder_id"]).fillna(0)
    escalated["agent"] = escalated["agent"].map(names)
    messages = between(world.messages, FIRST, LAST)
    human = messages[messages["manual_reply"]]
    written = human["sender_id"].fillna(0).map(names).value_counts()
    assert agents["escalations"].to_dict() == escalated["agent"].value_counts().to_dict()
    assert agents["human_messages"].to_dict() == written.to_dict()
    median = seconds(escalated, "first_response_at").groupby(escalated["agent"]).median()
    medians = agents["first_response_seconds_p50"].dropna().to_dict()
    assert medians == pytest.approx(median.dropna().to_dict())
    assert list(agents.index)[-1] == "unassigned"


def test_the_backlog_is_complete_and_in_its_buckets(world: World) -> None:
    backlog = read(world).backlog
    still = waiting(world, pd.Timestamp(NOW))
    edges = [0.0, 3600.0, 4 * 3600.0, 86_400.0, 3 * 86_400.0, 7 * 86_400.0, float("inf")]
    age = (NOW - still["escalated_at"]).dt.total_seconds()
    bucket = pd.cut(age, edges, right=False, labels=list(backlog["age"]))
    assert backlog["open_now"].tolist() == bucket.value_counts(sort=False).tolist()
    unanswered = bucket[still["first_response_at"].isna()]
    assert backlog["unanswered"].tolist() == unanswered.value_counts(sort=False).tolist()
    assert backlog["open_now"].sum() == world.escalations["is_open"].sum() > 0


def test_another_chat_is_empty(world: World) -> None:
    assert read_numbers(
        world.warehouse, chat_id=CHAT_ID + 1, first=FIRST, last=LAST, now=NOW
    ).is_empty


def test_a_range_that_ends_before_it_begins_is_refused(empty: Warehouse) -> None:
    with pytest.raises(ValueError, match="before it begins"):
        read_numbers(empty, chat_id=1, first=LAST, last=FIRST, now=NOW)
    with pytest.raises(ValueError, match="time zone"):
        read_numbers(empty, chat_id=1, first=FIRST, last=LAST, now=NOW.replace(tzinfo=None))


def expected_totals(
    world: World, first: date, last: date, as_of: datetime, target: float | None = None
) -> dict:
    """`report_totals.sql` in pandas."""
    as_of = as_of.astimezone(UTC)
    messages = between(world.messages, first, last)
    messages = messages[messages["created_at"] <= as_of]
    escalated = between(world.escalations, first, last)
    escalated = escalated[escalated["escalated_at"] <= as_of]
    response = seconds(escalated, "first_response_at")[escalated["first_response_at"] <= as_of]
    resolution = seconds(escalated, "resolved_at")[escalated["resolved_at"] <= as_of]
    with_people = set(messages[messages["manual_reply"]]["conversation_id"])
    conversations = set(escalated["conversation_id"])
    active = set(messages["conversation_id"]) | conversations
    open_then = waiting(world, pd.Timestamp(as_of))
    was_answered = open_then["first_response_at"] <= as_of

    waited = (as_of - escalated["escalated_at"]).dt.total_seconds()
    is_pending = ~(escalated["first_response_at"] <= as_of) & ~(escalated["ended_at"] <= as_of)
    pending = int((is_pending & (waited < (target or 0))).sum())
    in_time = int((response <= (target or 0)).sum())

    def over(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        "conversations_active": len(active),
        "escalations": len(escalated),
        "escalated_conversations": len(conversations),
        "answered": len(response),
        "unanswered": len(escalated) - len(response),
        "resolved": len(resolution),
        "open_now": len(open_then),
        "open_unanswered": int((~was_answered).sum()),
        "escalation_rate": over(len(conversations), len(active)),
        "containment_rate": over(len(active - conversations - with_people), len(active)),
        "resolution_rate": over(len(resolution), len(escalated)),
        "answered_within_target_rate": over(in_time, len(escalated) - pending) if target else None,
        "pending_within_target": pending if target else None,
        "first_response_seconds_p50": number(response.quantile(0.5)),
        "first_response_seconds_p90": number(response.quantile(0.9)),
        "resolution_seconds_p50": number(resolution.quantile(0.5)),
        "resolution_seconds_p90": number(resolution.quantile(0.9)),
        "days_measured": (last - first).days + 1,
    }


def waiting(world: World, at: pd.Timestamp) -> pd.DataFrame:
    """The escalations that were open at a moment."""
    rows = world.escalations
    return rows[(rows["escalated_at"] < at) & ~(rows["ended_at"] < at)]


def between(frame: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    return frame[(frame["partition_date"] >= first) & (frame["partition_date"] <= last)]


def seconds(escalated: pd.DataFrame, end: str) -> pd.Series:
    return (escalated[end] - escalated["escalated_at"]).dt.total_seconds()


def active_by_day(world: World) -> dict:
    both = pd.concat([world.messages, world.escalations])
    return both.groupby("partition_date")["conversation_id"].nunique().to_dict()
