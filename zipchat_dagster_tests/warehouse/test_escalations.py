"""`escalations`: every one that was ever seen, although the API shows only a conversation's last."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from zipchat_dagster_tests.conftest import Open, thorough
from zipchat_dagster_tests.warehouse.support import ADA, BO, CY, Story


@pytest.fixture
def story(place: Open) -> Story:
    return Story(place)


@pytest.mark.parametrize("kept", ["keep", "clear"])
def test_an_earlier_escalation_is_kept_although_the_api_forgets_it(place: Open, kept: Any) -> None:
    story = Story(place, reescalation_resolved=kept)
    story.play("""
        03-03 10:00     A start, A escalate, look
        03-03 11:00     A resolve, look
        03-03 12:00     A customer, A escalate, look
    """)
    (state,) = story.sandbox.truth()["conversations"]
    assert state["last_escalated_at"] == "2026-03-03T12:00:00Z"
    assert state["last_escalation_resolved_at"] == (
        "2026-03-03T11:00:00Z" if kept == "keep" else None
    )
    assert story.escalations("escalated_at", "resolved_at", "superseded_at", "is_open") == [
        ("03-03 10:00:00", "03-03 11:00:00", None, False),
        ("03-03 12:00:00", None, None, True),
    ]


@pytest.mark.parametrize(
    "kept", ["keep", pytest.param("clear", marks=[pytest.mark.file, thorough])]
)
def test_after_many_changes_every_escalation_is_stored_as_it_happened(
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
        story.later(minutes=1)
        story.sync()
    story.derive_facts()
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


def test_an_unresolved_escalation_is_superseded_by_the_next_one(story: Story) -> None:
    story.play("""
        03-03 10:00     A start, A escalate, look
        03-03 12:00     A customer, A escalate, look
        03-03 13:00     A resolve, look
    """)
    assert story.escalations("escalated_at", "resolved_at", "superseded_at", "is_open") == [
        ("03-03 10:00:00", None, "03-03 12:00:00", False),
        ("03-03 12:00:00", "03-03 13:00:00", None, False),
    ]


def test_a_resolution_older_than_the_escalation_belongs_to_an_earlier_one(story: Story) -> None:
    """The first escalation was over before anybody looked: its resolution is not the second's."""
    story.play("""
        03-03 10:00     A start, A escalate
        03-03 10:30     A resolve
        03-03 11:00     A escalate, look
    """)
    assert story.escalations("escalated_at", "resolved_at", "is_open") == [
        ("03-03 11:00:00", None, True)
    ]


# The first response


def test_the_first_response_is_the_first_manual_reply_at_or_after_the_escalation(
    story: Story,
) -> None:
    story.play("""
        03-03 10:00     A start, A human Bo
        03-03 10:01     A escalate, A ai
                        A human Cy, A human Ada  # in the same second; Ada's has the higher id
                        look
    """)
    assert story.escalations("escalated_at", "first_response_at", "first_responder_id") == [
        ("03-03 10:01:00", "03-03 10:01:00", CY)
    ]


def test_an_answer_to_a_later_escalation_counts_for_an_earlier_one_only_if_that_still_waited(
    story: Story,
) -> None:
    ids = story.play("""
        03-03 10:00     W start, W escalate, R start, R escalate, look
                        R resolve, look
        03-03 12:00     W customer, W escalate, W human Ada
                        R customer, R escalate, R human Ada
                        look
    """)
    ten, noon = "03-03 10:00:00", "03-03 12:00:00"
    assert story.escalations("conversation_id", "escalated_at", "first_response_at") == [
        (ids["W"], ten, noon),
        (ids["R"], ten, None),
        (ids["W"], noon, noon),
        (ids["R"], noon, noon),
    ]


def test_a_reply_after_an_unanswered_resolution_is_not_a_response(story: Story) -> None:
    story.play("""
        03-03 10:00     A start, A escalate, look
        03-03 12:00     A customer, A escalate, look
                        A resolve, look
        03-08 12:00     A human Ada, look
    """)
    # Not to the second, which was resolved, nor to the first, whose wait ended with it.
    assert story.escalations("first_response_at") == [(None,), (None,)]


def test_a_reply_in_the_second_of_the_resolution_is_a_response(story: Story) -> None:
    story.play("""
        03-03 10:00     A start, A escalate
        03-03 10:05     A human Ada, A resolve, look
    """)
    assert story.escalations("first_response_at") == [("03-03 10:05:00",)]


# A resolution and an escalation in one second


def test_the_resolution_belongs_to_the_earlier_escalation_if_that_was_open(place: Open) -> None:
    story = Story(place, reescalation_resolved="keep")
    story.play("""
        03-03 10:00     A start, A escalate, look
        03-03 11:00     A resolve_and_escalate, A customer, look
        03-03 12:00     A resolve_and_escalate, A customer, A assign Bo, look
    """)
    assert story.escalations("escalated_at", "resolved_at", "assignee_id", "is_open") == [
        ("03-03 10:00:00", "03-03 11:00:00", None, False),
        ("03-03 11:00:00", "03-03 12:00:00", None, False),
        ("03-03 12:00:00", None, BO, True),
    ]


def test_the_resolution_belongs_to_the_later_escalation_if_the_earlier_one_was_resolved(
    story: Story,
) -> None:
    story.play("""
        03-03 10:00     A start, A escalate
        03-03 10:01     A resolve, look
        03-03 12:00     A customer, A escalate, A resolve, look
    """)
    assert story.escalations("escalated_at", "resolved_at") == [
        ("03-03 10:00:00", "03-03 10:01:00"),
        ("03-03 12:00:00", "03-03 12:00:00"),
    ]


# The agent


def test_the_agent_is_whoever_was_assigned_while_the_escalation_was_open(story: Story) -> None:
    story.play("""
        03-03 10:00     A start, A escalate, look
                        A assign Ada, look
                        A assign Bo, look
                        A resolve, A assign nobody, look
        06-01 10:00     A customer, A assign Cy, look  # takes over, without an escalation
    """)
    assert story.escalations("assignee_id") == [(BO,)]


def test_if_no_run_saw_it_open_the_agent_is_whoever_is_assigned_afterwards(story: Story) -> None:
    ids = story.play("03-03 10:00     A start, A escalate, A assign Ada, A resolve, look")
    assert story.escalations("assignee_id") == [(ADA,)]
    story.customer(ids["A"])
    story.assign(ids["A"], CY)
    story.look()
    assert story.escalations("assignee_id") == [(ADA,)]


def test_the_agent_of_an_earlier_escalation_is_not_the_later_ones(story: Story) -> None:
    story.play("""
        03-03 10:00     A start, A escalate, A assign Ada, look
        03-03 11:00     A resolve, A assign nobody
        03-03 11:01     A customer, A escalate, look
    """)
    assert story.escalations("assignee_id") == [(ADA,), (None,)]


# The conversation


def test_a_missing_conversation_has_no_open_escalation_until_it_is_back(story: Story) -> None:
    conversation_id = story.play("03-03 10:00     A start, A escalate, look")["A"]
    story.chat.delete_conversation(conversation_id, at=story.now)
    story.look()
    assert story.escalations("is_open", "resolved_at", "superseded_at") == [(False, None, None)]
    story.chat.restore_conversation(conversation_id, at=story.now)
    story.customer(conversation_id)
    story.look()
    assert story.escalations("is_open") == [(True,)]


def test_a_conversation_without_messages_can_have_an_escalation(story: Story) -> None:
    conversation_id = story.play("03-03 10:00     A start, A escalate")["A"]
    story.chat.conversations[conversation_id].messages.clear()
    story.look()
    assert story.escalations("escalated_at", "first_response_at", "channel", "is_open") == [
        ("03-03 10:00:00", None, "web", True)
    ]
