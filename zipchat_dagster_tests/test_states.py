"""Re-reading states: the next run sees what ends without a message, at a bounded cost."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from zipchat_dagster.client import UnauthorizedError
from zipchat_dagster.sandbox import Chat, Conversation, Escalation, Fault, Message, generate
from zipchat_dagster.sync import sync_conversations
from zipchat_dagster.warehouse import store
from zipchat_dagster_tests.conftest import LOG, thorough
from zipchat_dagster_tests.warehouse.support import ADA, Story, moment

TODAY = "2026-03-10"
NOW = f"{TODAY} 15:00"
OPEN = "select count(*) from zipchat.escalations where is_open"


def busy_story(folder: Path) -> Story:
    """150 conversations of 30 days, 42 of which were escalated within the last two days and are still
    open, all without a message. Everything is synced, with metrics from 1 March on."""
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
    """Add conversations of one message, one every `seconds`, the last one at `ended`."""
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


def test_resolutions_in_recent_conversations_are_seen_by_the_next_run(
    tmp_path: Path,
) -> None:
    """42 of 42, for three requests: one for the users and two for the list, whose first page goes back
    far enough and whose second page shows that this was all. dlt and Airbyte's CDK saw 0 of 42."""
    story = busy_story(tmp_path)
    assert resolve_all(story) == 42
    hourly(story, most_states=0)
    story.derive_facts()
    assert story.value(OPEN) == 42  # without re-reading, none of them is seen
    asked = hourly(story)
    assert (asked["users"], asked["list"], asked["show"]) == (1, 2, 0)

    days = story.rows(
        "select distinct strftime(partition_date, '%Y-%m-%d') from zipchat.escalations order by 1"
    )
    before = story.computed_at()
    written = story.derive()
    after = story.computed_at()
    assert story.value(OPEN) == 0
    assert (
        story.value("select count(*) from zipchat.escalations where resolved_at is not null") == 42
    )
    # The metrics of their days follow a rebuild of today alone, and no others are touched.
    assert written == [day for (day,) in days] == ["2026-03-08", "2026-03-09", TODAY]
    assert {day for day in after if after[day] != before[day]} == set(written)
    assert [story.metrics(day)["resolution_rate"] for day in written] == [1.0, 1.0, 1.0]
    assert sum(story.metrics(day)["still_open"] for day in written) == 0


def test_escalations_behind_many_younger_conversations_are_read_one_by_one(tmp_path: Path) -> None:
    """Twelve behind 1,500 younger conversations: 12 requests, not 18 pages."""
    story = Story(tmp_path, begins="2026-03-01")
    story.at(NOW)
    escalated = [Escalation(story.now - timedelta(hours=40))]
    fill(story, 12, ended=escalated[0].escalated_at, seconds=60, escalations=escalated)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(escalated[0].escalated_at)]
    fill(story, 1500, ended=story.now, seconds=80)
    states_only(story)  # a first listing
    assert resolve_all(story) == 12
    asked = states_only(story)
    assert (asked["list"], asked["show"]) == (1, 12)
    story.derive()
    assert story.value(OPEN) == 0


def test_thousands_of_old_open_escalations_do_not_eat_the_budget(tmp_path: Path) -> None:
    """2,500 escalations of two months that were never marked as resolved, and five young ones.

    An hourly run spends at most 30 requests on them. The young ones come first, and those that were
    read are not due again soon."""
    story = Story(tmp_path, begins="2025-12-01")
    story.at("2026-03-04 15:00")
    fill(story, 2500, ended=story.now - timedelta(days=4), seconds=2000)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(conversation.last_message_at)]
    young = [story.start() for _ in range(5)]
    for conversation_id in young:
        story.escalate(conversation_id)
    states_only(story)  # a first listing
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
        assert asked["list"] + asked["show"] <= 2 + 30
        read = {state.conversation_id for state in due[:30]}
        with story.warehouse.transaction() as transaction:
            due = store.due_states(transaction, chat_id=story.chat.chat_id, now=story.now)
        assert not read & {state.conversation_id for state in due}
    story.derive()
    assert story.value(OPEN) == 2500


def states_only(story: Story) -> dict[str, int]:
    """The requests of an hourly run by endpoint, without users and messages."""
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


@thorough
def test_an_old_open_escalation_is_read_again_after_a_tenth_of_its_age(
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
    story.later(minutes=10)  # past the margin that every listing repeats
    story.sync()
    stored = "select manual_reply_mode, assignee_id from zipchat.raw_conversations"
    assert story.rows(stored) == [(True, ADA)]
    story.assign(conversation_id, None)
    hourly(story, most_states=0)
    assert story.rows(stored) == [(True, ADA)]
    hourly(story)
    assert story.rows(stored) == [(False, None)]
    hourly(story)
    assert sum(story.sandbox.stats()["shows"].values()) == 0  # nothing is left to read


def test_a_conversation_without_readable_activity_is_read_too(tmp_path: Path) -> None:
    """Without a message, or with an unreadable time, no listing since a time shows it."""
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
    """Two open escalations behind 400 younger conversations, so that they are read one by one."""
    story = Story(folder, begins="2026-03-01")
    story.at(NOW)
    fill(story, 2, ended=story.now - timedelta(hours=40), seconds=60)
    for conversation in story.chat.conversations.values():
        conversation.escalations = [Escalation(conversation.last_message_at)]
    fill(story, 400, ended=story.now, seconds=300)
    states_only(story)  # a first listing
    first, second = list(story.chat.conversations)[:2]
    return story, first, second


def test_a_deleted_conversation_is_marked_missing_and_no_longer_open(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", ["500", "truncated"])
def test_a_state_that_cannot_be_read_is_retried_by_the_next_run(
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


def test_a_key_that_is_revoked_meanwhile_ends_the_run(tmp_path: Path) -> None:
    story, *_ = two_behind_many(tmp_path)

    def revoke(sandbox: Any, request: Any) -> None:
        if request.endpoint == "list":
            sandbox.key = "zc-another"

    story.sandbox.before_request = revoke
    with pytest.raises(UnauthorizedError):
        states_only(story)


def test_an_empty_chat_reads_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path, chat=Chat())
    story.at(NOW)
    states_only(story)  # a first listing
    assert states_only(story)["list"] == 1
