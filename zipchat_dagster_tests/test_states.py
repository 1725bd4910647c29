"""Asking again: what ends without a message is seen by the next run, and what that costs."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipchat_dagster.client import UnauthorizedError
from zipchat_dagster.sandbox import Chat, Fault, generate
from zipchat_dagster.sandbox.data import Conversation, Escalation, Message
from zipchat_dagster.sync import reach_back, sync_conversations
from zipchat_dagster.warehouse import store
from zipchat_dagster.warehouse.store import DueState
from zipchat_dagster_tests.conftest import LOG
from zipchat_dagster_tests.warehouse.support import ADA, Story, moment

TODAY = "2026-03-10"
NOW = f"{TODAY} 15:00"
OPEN = "select count(*) from zipchat.escalations where is_open"


def busy_story(folder: Path) -> Story:
    """A hundred and fifty conversations of 30 days; 42 of them were escalated in the last two days and
    wait since, all without a message. Everything is synced, and computed since 1 March."""
    chat = generate(seed=3, conversations=150, days=30, now=moment(NOW), max_messages=5)
    for conversation in chat.conversations.values():
        conversation.escalations.clear()
        conversation.manual_reply_mode, conversation.assignee_id = False, None
    story = Story(folder, chat=chat, begins="2026-02-01")
    story.at(NOW)
    newest = sorted(chat.conversations.values(), key=lambda each: each.last_message_at)[-42:]
    random = Random(1)
    for conversation in newest:
        at = max(conversation.last_message_at, story.now - timedelta(hours=random.randint(1, 47)))
        chat.escalate(conversation.id, at=at)
    story.sync()
    story.derive(*[f"2026-03-{day:02}" for day in range(1, 11)])
    assert story.value(OPEN) == 42
    return story


def fill(story: Story, count: int, *, ended: datetime, seconds: float, **fields: Any) -> None:
    """Add conversations, one every so many seconds, the last of which fell silent at `ended`."""
    for number in range(count):
        at = (ended - timedelta(seconds=seconds * (count - 1 - number))).replace(microsecond=0)
        conversation_id = story.chat.next_conversation_id
        story.chat.next_conversation_id += 1
        message = Message(conversation_id, "user", "Hello", at)
        conversation = Conversation(conversation_id, "web", at, at, messages=[message], **fields)
        story.chat.conversations[conversation_id] = conversation
    story.chat.version += 1


def resolve_all(story: Story) -> int:
    waiting = [c.id for c in story.chat.conversations.values() if c.is_escalated]
    for conversation_id in waiting:
        story.resolve(conversation_id)
    return len(waiting)


def hourly(story: Story, **options: Any) -> dict[str, int]:
    """A run an hour later; returns its requests by endpoint."""
    story.later(hours=1)
    story.sandbox.reset_stats()
    story.sync(**options)
    return story.sandbox.stats()["by_endpoint"]


def test_every_young_resolution_without_a_message_is_seen_by_the_next_run(
    tmp_path: Path,
) -> None:
    """42 of 42, for no request more than a run in which nothing happened: 1 for the users and 1
    for the list, whose page reaches back far enough. dlt and Airbyte's CDK saw 0 of 42."""
    story = busy_story(tmp_path)
    assert resolve_all(story) == 42
    asked = hourly(story)
    assert (asked["users"], asked["list"], asked["show"]) == (1, 1, 0)

    days = story.rows(
        "select distinct strftime(partition_date, '%Y-%m-%d') from zipchat.escalations order by 1"
    )
    before = computed_at(story)
    written = story.derive()
    after = computed_at(story)
    assert story.value(OPEN) == 0
    assert (
        story.value("select count(*) from zipchat.escalations where resolved_at is not null") == 42
    )
    # The metrics of their days follow a rebuild of today alone, and no others are touched.
    assert written == [day for (day,) in days] == ["2026-03-08", "2026-03-09", TODAY]
    assert {day for day in after if after[day] != before[day]} == set(written)
    assert [story.metrics(day)["resolution_rate"] for day in written] == [1.0, 1.0, 1.0]
    assert sum(story.metrics(day)["still_open"] for day in written) == 0


def computed_at(story: Story) -> dict[str, datetime]:
    return dict(
        story.rows(
            "select strftime(partition_date, '%Y-%m-%d'), any_value(computed_at)"
            " from zipchat.escalation_metrics group by 1"
        )
    )


def test_without_asking_again_none_of_them_is_seen(tmp_path: Path) -> None:
    """What the test above proves: only asking shows it."""
    story = busy_story(tmp_path)
    resolve_all(story)
    asked = hourly(story, most_states=0)
    story.derive()
    assert (asked["list"], asked["show"]) == (1, 0)
    assert story.value(OPEN) == 42


def test_where_a_list_would_cost_more_each_is_asked_for_singly(tmp_path: Path) -> None:
    """Twelve that wait behind 1,500 younger conversations: 12 requests, not 18 pages."""
    story = Story(tmp_path, begins="2026-03-01")
    story.at(NOW)
    escalated = [Escalation(story.now - timedelta(hours=40))]
    fill(story, 12, ended=escalated[0].escalated_at, seconds=60, escalations=escalated)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(escalated[0].escalated_at)]
    fill(story, 1500, ended=story.now, seconds=80)
    # The messages of so many would cost a request each, and are not what this is about.
    observe(story)
    assert resolve_all(story) == 12
    asked = states_only(story)
    assert (asked["list"], asked["show"]) == (1, 12)
    story.derive()
    assert story.value(OPEN) == 0


def test_thousands_of_old_open_escalations_do_not_eat_the_budget(tmp_path: Path) -> None:
    """Nobody ever pressed "resolve" for 2,500 of two months; five young ones are among them.

    An hourly run costs at most 30 requests more than it would without asking (here 8 pages of the
    list, which show 600 states); the young ones are seen by the first of them, and what was seen
    is not due again before long."""
    story = Story(tmp_path, begins="2025-12-01")
    story.at("2026-03-04 15:00")
    fill(story, 2500, ended=story.now - timedelta(days=4), seconds=2000)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(conversation.last_message_at)]
    young = [story.start() for _ in range(5)]
    for conversation_id in young:
        story.escalate(conversation_id)
    observe(story)
    # Just listed, none of the old ones is due.
    asked = states_only(story)
    assert (asked["list"], asked["show"]) == (1, 0)

    story.later(days=2)
    with story.warehouse.transaction() as transaction:
        due = store.due_states(transaction, chat_id=story.chat.chat_id, now=story.now)
    assert len(due) > 500
    assert {state.conversation_id for state in due[:5]} == set(young)
    for conversation_id in young:
        story.resolve(conversation_id)
    for _ in range(3):
        asked = states_only(story)
        assert asked["list"] + asked["show"] <= 1 + 30
        former = {state.conversation_id for state in due}
        with story.warehouse.transaction() as transaction:
            due = store.due_states(transaction, chat_id=story.chat.chat_id, now=story.now)
        assert not former & {state.conversation_id for state in due}
    story.derive()
    assert story.value(OPEN) == 2500


def observe(story: Story) -> None:
    """A first listing, without the messages."""
    states_only(story)


def states_only(story: Story) -> dict[str, int]:
    """An hour later, what a run asks for besides users and messages: requests by endpoint."""
    story.later(hours=1)
    story.sandbox.reset_stats()
    with story.client(concurrency=64) as client:
        result = sync_conversations(
            client, story.warehouse, since=story.begins, refresh=False, log=LOG, most_states=30
        )
        asked = story.sandbox.stats()["by_endpoint"]
        assert result.requests_for_states == asked["show"]
        assert client.requests == asked["list"] + asked["show"]
    return asked


def test_an_old_one_is_asked_about_when_it_was_not_seen_for_a_tenth_of_its_age(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path, begins="2026-01-01")
    story.at("2026-01-01 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.sync()
    seen = [story.now]
    while story.now < moment("2026-02-10 10:00"):
        story.later(hours=24)
        with story.warehouse.transaction() as transaction:
            due = store.due_states(transaction, chat_id=1, now=story.now)
        if due:
            story.sync()
            seen.append(story.now)
    began = seen[0]
    for previous, at in itertools.pairwise(seen):
        if at - began < timedelta(days=3):
            assert at - previous == timedelta(hours=24)
        else:
            assert timedelta(0) <= (at - previous) - (at - began) / 10 <= timedelta(hours=24)
    assert len(seen) < 30


def test_a_hand_back_to_the_ai_is_seen(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.at(NOW)
    conversation_id = story.start()
    story.assign(conversation_id, ADA)  # without any escalation
    story.later(minutes=10)  # past what every listing reads again
    story.sync()
    stored = "select manual_reply_mode, assignee_id from zipchat.raw_conversations"
    assert story.rows(stored) == [(True, ADA)]
    story.assign(conversation_id, None)
    hourly(story, most_states=0)
    assert story.rows(stored) == [(True, ADA)]
    hourly(story)
    assert story.rows(stored) == [(False, None)]
    hourly(story)
    assert sum(story.sandbox.stats()["shows"].values()) == 0  # nothing is left to ask about


def test_a_conversation_whose_activity_cannot_be_read_is_asked_for_too(tmp_path: Path) -> None:
    """No message yet, or an unreadable time: no list since a time shows it."""
    story = Story(tmp_path)
    story.at(NOW)
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.sync()
    with story.warehouse.connection() as connection:
        connection.execute("update zipchat.raw_conversations set last_message_at = null")
    story.resolve(conversation_id)
    hourly(story)
    story.derive()
    assert story.value(OPEN) == 0


def two_behind_many(folder: Path) -> tuple[Story, int, int]:
    """Two that wait behind 400 younger conversations, so that they are asked for singly."""
    story = Story(folder, begins="2026-03-01")
    story.at(NOW)
    fill(story, 2, ended=story.now - timedelta(hours=40), seconds=60)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(conversation.last_message_at)]
    fill(story, 400, ended=story.now, seconds=300)
    observe(story)
    first, second = list(story.chat.conversations)[:2]
    return story, first, second


def test_one_that_is_gone_is_marked_missing_and_counts_as_open_no_longer(tmp_path: Path) -> None:
    story, gone, kept = two_behind_many(tmp_path)
    story.chat.delete_conversation(gone, at=story.now)
    asked = states_only(story)
    assert asked["show"] == 2
    story.derive()
    assert story.rows(
        "select conversation_id from zipchat.raw_conversations where missing_since is not null"
    ) == [(gone,)]
    assert story.rows("select conversation_id from zipchat.escalations where is_open") == [(kept,)]
    assert states_only(story)["show"] == 1


@pytest.mark.parametrize("kind", ["500", "timeout", "not_json", "truncated"])
def test_one_that_cannot_be_read_fails_no_run_and_is_asked_for_again(
    tmp_path: Path, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    story, bad, good = two_behind_many(tmp_path)
    for conversation_id in (bad, good):
        story.resolve(conversation_id)
    story.sandbox.add_fault(Fault(kind, conversation_id=bad, times=None))
    states_only(story)
    assert f"The state of conversation {bad} could not be read" in caplog.text
    story.derive()
    assert story.rows("select conversation_id from zipchat.escalations where is_open") == [(bad,)]
    story.sandbox.clear_faults()
    assert states_only(story)["show"] == 1
    story.derive()
    assert story.value(OPEN) == 0


def test_a_key_that_was_revoked_meanwhile_ends_the_run(tmp_path: Path) -> None:
    story, *_ = two_behind_many(tmp_path)

    def revoke(sandbox: Any, request: Any) -> None:
        if request.endpoint == "list":
            sandbox.key = "zc-another"

    story.sandbox.before_request = revoke
    with pytest.raises(UnauthorizedError):
        states_only(story)


# How far back to list

TOP = datetime(2026, 3, 10, tzinfo=UTC)


@st.composite
def dues(draw: st.DrawFn) -> list[DueState]:
    """Some conversations of a list, in any order of urgency; the n-th newest is n minutes old."""
    ranks = draw(st.sets(st.integers(1, 4000), max_size=60) | st.sets(st.integers(1, 200)))
    states = [DueState(rank, TOP - timedelta(minutes=rank), rank) for rank in ranks]
    return draw(st.permutations(states))


@given(due=dues(), most=st.integers(1, 40), listed_anyway=st.integers(0, 300))
def test_reaching_back_costs_no_more_than_reading_one_by_one(
    due: list[DueState], most: int, listed_anyway: int
) -> None:
    since = TOP - timedelta(minutes=listed_anyway)
    until, singly = reach_back(since, due, most)
    shown = [state for state in due if until <= state.last_message_at < since]
    pages = most - singly
    assert until <= since
    assert 0 <= pages <= min(most, len(shown))


def test_of_more_than_can_be_asked_for_a_list_shows_all_where_it_can() -> None:
    due = [DueState(n, TOP - timedelta(minutes=10 * n), 10 * n) for n in range(1, 101)]
    until, singly = reach_back(TOP, due, 30)
    assert until == due[-1].last_message_at  # 1,000 conversations are 12 pages more
    assert singly == 30 - math.ceil(1000 / 85)


def test_nothing_due_reaches_nowhere() -> None:
    assert reach_back(TOP, [], 30) == (TOP, 30)
    newer = DueState(1, TOP + timedelta(minutes=1), 1)
    assert reach_back(TOP, [newer], 30) == (TOP, 30)


def test_an_empty_chat_asks_for_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path, chat=Chat())
    story.at(NOW)
    observe(story)
    assert states_only(story)["list"] == 1
