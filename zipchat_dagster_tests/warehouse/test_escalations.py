"""`escalations`: every one that was ever seen, although the API shows only a conversation's last."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from zipchat_dagster.warehouse.derive import Rules, rebuild_facts
from zipchat_dagster_tests.conftest import Open, thorough
from zipchat_dagster_tests.warehouse.support import ADA, BO, CY, Story


@pytest.fixture
def story(place: Open) -> Story:
    """Tuesday, 3 March 2026, 10:00, and nothing has happened yet."""
    story = Story(place)
    story.at("2026-03-03 10:00")
    return story


def look(story: Story) -> None:
    """An hourly run, a moment later."""
    story.later(minutes=1)
    story.sync()
    story.derive_facts()


KEPT = pytest.mark.parametrize("kept", ["keep", "clear"])


@KEPT
def test_what_the_api_forgets_of_two_escalations_is_kept(place: Open, kept: Any) -> None:
    story = Story(place, reescalation_resolved=kept)
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    look(story)
    story.at("2026-03-03 11:00")
    story.resolve(conversation_id)
    look(story)
    story.at("2026-03-03 12:00")
    story.customer(conversation_id)
    story.escalate(conversation_id)
    look(story)
    (state,) = story.sandbox.truth()["conversations"]
    assert state["last_escalated_at"] == "2026-03-03T12:00:00Z"
    assert state["last_escalation_resolved_at"] == (
        "2026-03-03T11:00:00Z" if kept == "keep" else None
    )
    assert story.escalations("escalated_at", "resolved_at", "superseded_at", "is_open") == [
        ("03-03 10:00:00", "03-03 11:00:00", None, False),
        ("03-03 12:00:00", None, None, True),
    ]


def test_from_scratch_the_table_is_the_same(story: Story) -> None:
    first, second = story.start(), story.start("email")
    for conversation_id in (first, second, first):
        story.escalate(conversation_id)
        look(story)
        story.human(conversation_id, ADA)
        look(story)
    story.resolve(second)
    look(story)
    before = set(story.rows("from zipchat.escalations"))
    with story.warehouse.connection() as connection:
        connection.execute("delete from zipchat.escalations")
    rebuild_facts(story.warehouse, chat_id=1, now=story.now, rules=Rules(), from_scratch=True)
    assert set(story.rows("from zipchat.escalations")) == before
    assert len(before) == 3


@pytest.mark.parametrize(
    "kept", ["keep", pytest.param("clear", marks=[pytest.mark.file, thorough])]
)
def test_after_many_changes_every_escalation_is_there_as_it_really_was(
    place: Open, kept: Any
) -> None:
    """Each change is seen by a run before the next one."""
    story = Story(place, reescalation_resolved=kept)
    story.at("2026-03-03 10:00")
    ids = [story.start() for _ in range(3)]
    random = Random(4)
    for _ in range(15):
        story.later(minutes=random.randint(1, 40))
        conversation_id = random.choice(ids)
        if random.random() < 0.4 and story.chat.conversations[conversation_id].is_escalated:
            story.resolve(conversation_id)
        else:
            story.customer(conversation_id)
            story.escalate(conversation_id)
        look(story)
    expected = [
        (
            f"{each.escalated_at:%m-%d %H:%M:%S}",
            each.resolved_at and f"{each.resolved_at:%m-%d %H:%M:%S}",
        )
        for conversation in story.chat.conversations.values()
        for each in conversation.escalations
    ]
    assert sorted(story.escalations("escalated_at", "resolved_at"), key=str) == sorted(
        expected, key=str
    )
    assert len(expected) > 7
    assert story.value("select count(*) from zipchat.escalations where is_open") == sum(
        conversation.is_escalated for conversation in story.chat.conversations.values()
    )


def test_an_escalation_followed_by_another_while_unresolved_says_so(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    look(story)
    story.at("2026-03-03 12:00")
    story.customer(conversation_id)
    story.escalate(conversation_id)
    look(story)
    story.at("2026-03-03 13:00")
    story.resolve(conversation_id)
    look(story)
    assert story.escalations("escalated_at", "resolved_at", "superseded_at", "is_open") == [
        ("03-03 10:00:00", None, "03-03 12:00:00", False),
        ("03-03 12:00:00", "03-03 13:00:00", None, False),
    ]


def test_a_resolution_older_than_the_escalation_belongs_to_an_earlier_one(story: Story) -> None:
    """The first escalation was over before anybody looked: its resolution is not the second's."""
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.later(minutes=30)
    story.resolve(conversation_id)
    story.later(minutes=30)
    story.escalate(conversation_id)
    look(story)
    assert story.escalations("escalated_at", "resolved_at", "is_open") == [
        ("03-03 11:00:00", None, True)
    ]


def test_the_first_response_is_the_first_manual_reply_at_or_after_the_escalation(
    story: Story,
) -> None:
    conversation_id = story.start()
    story.human(conversation_id, BO)  # before
    story.later(minutes=1)
    story.escalate(conversation_id)
    story.ai(conversation_id)
    story.human(conversation_id, CY)  # in the same second
    story.human(conversation_id, ADA)  # in the same second, later by its id
    look(story)
    assert story.escalations("escalated_at", "first_response_at", "first_responder_id") == [
        ("03-03 10:01:00", "03-03 10:01:00", CY)
    ]


def test_a_later_escalation_lends_its_answer_to_one_that_still_waited_only(story: Story) -> None:
    waiting, resolved = story.start(), story.start()
    for conversation_id in (waiting, resolved):
        story.escalate(conversation_id)
    look(story)
    story.resolve(resolved)
    look(story)
    story.at("2026-03-03 12:00")
    for conversation_id in (waiting, resolved):
        story.customer(conversation_id)
        story.escalate(conversation_id)
        story.human(conversation_id, ADA)  # in the second of the next escalation: it is that one's
    look(story)
    noon = "03-03 12:00:00"
    assert story.escalations("conversation_id", "escalated_at", "first_response_at") == [
        (waiting, "03-03 10:00:00", noon),
        (resolved, "03-03 10:00:00", None),
        (waiting, noon, noon),
        (resolved, noon, noon),
    ]


def test_a_reply_after_an_unanswered_resolution_is_not_a_response(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    look(story)
    story.at("2026-03-03 12:00")
    story.customer(conversation_id)
    story.escalate(conversation_id)
    look(story)
    story.resolve(conversation_id)
    look(story)
    story.at("2026-03-08 12:00")
    story.human(conversation_id, ADA)
    look(story)
    # Not to the second, which was resolved, nor to the first, whose wait ended with it.
    assert story.escalations("first_response_at") == [(None,), (None,)]


def test_a_reply_in_the_second_of_the_resolution_is_a_response(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.later(minutes=5)
    story.human(conversation_id, ADA)
    story.resolve(conversation_id)
    look(story)
    assert story.escalations("first_response_at") == [("03-03 10:05:00",)]


def test_of_a_resolution_and_an_escalation_in_one_second_the_resolution_is_the_earlier_ones(
    place: Open,
) -> None:
    story = Story(place, reescalation_resolved="keep")
    story.at("2026-03-03 10:00")
    conversation_id = story.start()
    story.escalate(conversation_id)
    for hour in (11, 12):
        look(story)
        story.at(f"2026-03-03 {hour}:00")
        story.resolve_and_escalate(conversation_id)
        story.customer(conversation_id)
    story.assign(conversation_id, BO)
    look(story)
    assert story.escalations("escalated_at", "resolved_at", "assignee_id", "is_open") == [
        ("03-03 10:00:00", "03-03 11:00:00", None, False),
        ("03-03 11:00:00", "03-03 12:00:00", None, False),
        ("03-03 12:00:00", None, BO, True),
    ]


def test_it_is_its_own_if_the_earlier_one_was_resolved_before(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.later(minutes=1)
    story.resolve(conversation_id)
    look(story)
    story.at("2026-03-03 12:00")
    story.customer(conversation_id)
    story.escalate(conversation_id)
    story.resolve(conversation_id)
    look(story)
    assert story.escalations("escalated_at", "resolved_at") == [
        ("03-03 10:00:00", "03-03 10:01:00"),
        ("03-03 12:00:00", "03-03 12:00:00"),
    ]


def test_the_agent_is_who_was_assigned_while_it_ran_whoever_comes_later(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    look(story)
    for agent in (ADA, BO):
        story.assign(conversation_id, agent)
        look(story)
    story.resolve(conversation_id)
    story.assign(conversation_id, None)
    look(story)
    story.at("2026-06-01 10:00")
    story.customer(conversation_id)
    story.assign(conversation_id, CY)  # takes over, without an escalation
    look(story)
    assert story.escalations("assignee_id") == [(BO,)]


def test_where_no_run_saw_it_open_the_agent_is_who_was_assigned_first_afterwards(
    story: Story,
) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.assign(conversation_id, ADA)
    story.resolve(conversation_id)
    look(story)
    assert story.escalations("assignee_id") == [(ADA,)]
    story.customer(conversation_id)
    story.assign(conversation_id, CY)
    look(story)
    assert story.escalations("assignee_id") == [(ADA,)]


def test_the_agent_of_an_earlier_escalation_is_not_the_later_ones(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.assign(conversation_id, ADA)
    look(story)
    story.resolve(conversation_id)
    story.assign(conversation_id, None)
    story.later(minutes=1)
    story.customer(conversation_id)
    story.escalate(conversation_id)
    look(story)
    assert story.escalations("assignee_id") == [(ADA,), (None,)]


def test_a_missing_conversation_has_no_open_escalation_until_it_is_back(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    look(story)
    story.chat.delete_conversation(conversation_id, at=story.now)
    look(story)
    assert story.escalations("is_open", "resolved_at", "superseded_at") == [(False, None, None)]
    story.chat.restore_conversation(conversation_id, at=story.now)
    story.customer(conversation_id)
    look(story)
    assert story.escalations("is_open") == [(True,)]


def test_an_escalation_of_a_conversation_without_any_message_is_there(story: Story) -> None:
    conversation_id = story.start()
    story.escalate(conversation_id)
    story.chat.conversations[conversation_id].messages.clear()
    look(story)
    assert story.escalations("escalated_at", "first_response_at", "channel", "is_open") == [
        ("03-03 10:00:00", None, "web", True)
    ]
