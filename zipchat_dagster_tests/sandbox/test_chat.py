"""The invented chat and its changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import get_args

import pytest

from zipchat_dagster.sandbox import Chat, Conversation, generate
from zipchat_dagster.sandbox.chat import CHANNELS, LIFELIKE, WITHOUT_DELETIONS, ChangeKind

NOW = datetime(2026, 3, 4, 15, 30, 12, 345678, tzinfo=UTC)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return generate(seed=1, conversations=600, days=60, now=NOW)


def test_the_same_seed_gives_the_same_chat(chat: Chat) -> None:
    assert generate(seed=1, conversations=600, days=60, now=NOW) == chat
    assert generate(seed=2, conversations=600, days=60, now=NOW) != chat


def test_times_are_whole_seconds_and_end_a_little_before_now(chat: Chat) -> None:
    times = [m.created_at for c in chat.conversations.values() for m in c.messages]
    times += [e.escalated_at for c in chat.conversations.values() for e in c.escalations]
    assert all(time.tzinfo is UTC and time.microsecond == 0 for time in times)
    assert min(times) >= NOW - timedelta(days=60, seconds=1)
    newest = max(c.last_message_at for c in chat.conversations.values())
    assert newest == max(times)
    assert timedelta(minutes=1) <= NOW - newest <= timedelta(minutes=10, seconds=1)


def test_ids_ascend_with_time(chat: Chat) -> None:
    conversations = sorted(chat.conversations.values(), key=lambda c: c.id)
    assert [c.created_at for c in conversations] == sorted(c.created_at for c in conversations)
    assert conversations[-1].id - conversations[0].id >= len(conversations)
    for conversation in conversations:
        keys = [(m.created_at, m.id) for m in conversation.messages]
        assert keys == sorted(keys)
        assert conversation.created_at <= keys[0][0]
        assert conversation.last_message_at == keys[-1][0]
    ids = [m.id for c in conversations for m in c.messages]
    assert len(set(ids)) == len(ids)
    assert max(ids) < chat.next_message_id


def has_human_answer(conversation: Conversation) -> bool:
    first = conversation.escalations[0].escalated_at
    return any(m.manual_reply and m.created_at >= first for m in conversation.messages)


def is_answered_on_a_later_day(conversation: Conversation) -> bool:
    first = conversation.escalations[0].escalated_at
    human = [m.created_at for m in conversation.messages if m.manual_reply]
    return bool(human) and human[0].date() > first.date()


CASES: dict[str, Callable[[Conversation], bool]] = {
    "no lead": lambda c: c.lead is None,
    "lead without e-mail": lambda c: c.lead is not None and c.lead.email is None,
    "lead without phone": lambda c: c.lead is not None and c.lead.phone_number is None,
    "lead without name": lambda c: c.lead is not None and c.lead.full_name is None,
    "lead without shop id": lambda c: c.lead is not None and c.lead.shopify_customer_id is None,
    "lead with attributes": lambda c: c.lead is not None and bool(c.lead.additional_attributes),
    "assigned": lambda c: c.manual_reply_mode and c.assignee_id is not None,
    "over 200 messages": lambda c: len(c.messages) > 200,
    "lives for weeks": lambda c: c.last_message_at - c.created_at > timedelta(days=14),
    "two messages in a second": lambda c: len({m.created_at for m in c.messages}) < len(c.messages),
    "a message at midnight": lambda c: any(
        m.created_at.timestamp() % 86400 == 0 for m in c.messages
    ),
    "HTML": lambda c: any("<p>" in m.message and "<br" in m.message for m in c.messages),
    "attachments only": lambda c: all(m.message.startswith('[{"type"') for m in c.messages),
    "attachment with text": lambda c: any('"type": "text"' in m.message for m in c.messages),
    "escalated, resolved": lambda c: bool(c.escalations) and not c.is_escalated,
    "escalated, open": lambda c: c.is_escalated,
    "escalated twice": lambda c: len(c.escalations) > 1,
    "never answered": lambda c: bool(c.escalations) and not has_human_answer(c),
    "answered": lambda c: bool(c.escalations) and has_human_answer(c),
    "answered another day": lambda c: bool(c.escalations) and is_answered_on_a_later_day(c),
    "resolved after the last message": lambda c: any(
        e.resolved_at is not None and e.resolved_at > c.last_message_at for e in c.escalations
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_case_occurs(chat: Chat, case: str) -> None:
    assert any(CASES[case](conversation) for conversation in chat.conversations.values())


def test_the_mix_is_lifelike(chat: Chat) -> None:
    conversations = list(chat.conversations.values())
    assert {c.channel for c in conversations} == set(CHANNELS)
    assert 4 <= len(chat.users) <= 6
    assert 0.08 < sum(bool(c.escalations) for c in conversations) / len(conversations) < 0.18
    lengths = [len(c.messages) for c in conversations]
    assert sum(length > 200 for length in lengths) == 6
    assert max(lengths) <= 450
    for conversation in conversations:
        assert conversation.manual_reply_mode == (conversation.assignee_id is not None)
        for message in conversation.messages:
            assert message.manual_reply == (message.sender_id in chat.users)
            assert message.role == "assistant" or not message.manual_reply
            if message.message.startswith("["):
                assert json.loads(message.message)[0]["source"]["url"].startswith("https://")


@pytest.mark.parametrize(("conversations", "days"), [(0, 30), (1, 1), (7, 0), (50, 1), (60, 400)])
def test_a_chat_of_any_size_can_be_generated(conversations: int, days: int) -> None:
    chat = generate(seed=3, conversations=conversations, days=days, now=NOW, chat_id=9)
    assert chat.chat_id == 9
    assert len(chat.conversations) == conversations
    assert all(c.last_message_at < NOW for c in chat.conversations.values())
    if conversations >= 50:
        assert sum(len(c.messages) > 200 for c in chat.conversations.values()) == 2


def test_max_messages_caps_each_conversation() -> None:
    chat = generate(seed=1, conversations=100, days=30, now=NOW, max_messages=20)
    assert max(len(c.messages) for c in chat.conversations.values()) == 20


def test_only_messages_move_the_last_message() -> None:
    chat = Chat()
    conversation = chat.add_conversation(at=NOW, channel="email")
    began = conversation.last_message_at
    later = NOW + timedelta(hours=1)
    version = chat.version
    chat.escalate(conversation.id, at=later)
    chat.resolve(conversation.id, at=later)
    assert conversation.last_message_at == began == NOW.replace(microsecond=0)
    assert conversation.escalations[0].resolved_at == later.replace(microsecond=0)
    chat.add_message(conversation.id, at=later, role="assistant")
    assert conversation.last_message_at == later.replace(microsecond=0)
    assert chat.version == version + 3


def test_a_message_never_goes_back_in_time() -> None:
    chat = Chat()
    conversation = chat.add_conversation(at=NOW)
    message = chat.add_message(conversation.id, at=NOW - timedelta(hours=1))
    assert message.created_at == conversation.created_at


def test_changes_that_cannot_be_made_are_refused() -> None:
    chat = Chat()
    conversation = chat.add_conversation(at=NOW)
    with pytest.raises(ValueError, match="nothing to resolve"):
        chat.resolve(conversation.id, at=NOW)
    chat.escalate(conversation.id, at=NOW)
    with pytest.raises(ValueError, match="cannot be escalated"):
        chat.escalate(conversation.id, at=NOW)
    with pytest.raises(ValueError, match="time zone"):
        chat.resolve(conversation.id, at=NOW.replace(tzinfo=None))
    with pytest.raises(KeyError):
        chat.assign(conversation.id, 99, at=NOW)
    with pytest.raises(KeyError):
        chat.add_message(99, at=NOW)


def test_deleted_conversations_come_back_and_removed_users_keep_their_name(chat: Chat) -> None:
    chat = generate(seed=5, conversations=3, days=3, now=NOW)
    conversation = next(iter(chat.conversations.values()))
    user_id = next(iter(chat.users))
    chat.assign(conversation.id, user_id, at=NOW)
    chat.remove_user(user_id, at=NOW)
    assert user_id not in chat.users
    assert chat.user(user_id).full_name.endswith("Agent")
    assert conversation.assignee_id == user_id
    chat.delete_conversation(conversation.id, at=NOW)
    assert list(chat.deleted) == [conversation.id]
    chat.restore_conversation(conversation.id, at=NOW)
    assert chat.conversations[conversation.id] is conversation
    assert not chat.deleted


@pytest.mark.parametrize("kinds", [LIFELIKE, WITHOUT_DELETIONS])
def test_random_changes_are_of_every_kind(kinds: tuple[ChangeKind, ...]) -> None:
    chat = generate(seed=1, conversations=100, days=10, now=NOW)
    random = Random(1)
    times = [NOW + timedelta(seconds=second) for second in range(1000)]
    assert {chat.change(random, at=at, kinds=kinds) for at in times} == set(kinds)
    for conversation in chat.conversations.values():
        assert conversation.last_message_at == conversation.messages[-1].created_at


@pytest.mark.parametrize("kind", get_args(ChangeKind))
def test_a_kind_of_change_can_be_chosen(kind: ChangeKind) -> None:
    chat = generate(seed=1, conversations=100, days=10, now=NOW)
    chat.delete_conversation(min(chat.conversations), at=NOW)
    assert chat.change(Random(1), at=NOW, kinds=[kind]) == kind


def test_an_empty_chat_can_change() -> None:
    chat = Chat()
    assert chat.change(Random(1), at=NOW) == "add_conversation"
