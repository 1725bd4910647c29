"""One chat: its records, and how they change. Nothing here knows about HTTP.

Times are `datetime`s in UTC with whole seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from random import Random
from typing import Any, Literal

from zipchat_dagster.sandbox import texts

Role = Literal["user", "assistant"]
ChangeKind = Literal[
    "add_conversation",
    "add_message",
    "escalate",
    "resolve",
    "assign",
    "delete_conversation",
    "restore_conversation",
    "delete_newest_message",
]

# Relative frequencies, here and in `ODDS`.
CHANNELS = {"web": 46, "whatsapp": 17, "email": 12, "instagram": 10, "messenger": 8, "chat": 7}
META_CHANNELS = frozenset({"whatsapp", "instagram", "messenger"})
ODDS: dict[ChangeKind, int] = {
    "add_message": 62,
    "add_conversation": 14,
    "escalate": 8,
    "resolve": 6,
    "assign": 7,
    "delete_conversation": 2,
    "restore_conversation": 1,
}
LIFELIKE = tuple(ODDS)
WITHOUT_DELETIONS = LIFELIKE[:-2]


@dataclass(slots=True)
class User:
    """A person who can be assigned to a conversation."""

    id: int
    first_name: str
    last_name: str
    email: str
    avatar_url: str | None = None
    role: str = "participant"

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True)
class Lead:
    """A customer. One lead can have several conversations."""

    id: int
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone_number: str | None = None
    email_marketing_consent: bool | None = False
    shopify_customer_id: int | None = None
    additional_attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str | None:
        return f"{self.first_name or ''} {self.last_name or ''}".strip() or None


@dataclass(slots=True)
class Message:
    """One message. `role` is "user" for the customer, "assistant" for the AI or a human."""

    id: int
    role: Role
    message: str
    created_at: datetime
    manual_reply: bool = False
    sender_id: int | None = None
    status: str = "delivered"


@dataclass(slots=True)
class Escalation:
    """One escalation. The API shows only the last one of a conversation."""

    escalated_at: datetime
    resolved_at: datetime | None = None


@dataclass(slots=True)
class Conversation:
    """A conversation with its messages in ascending (created_at, id) order."""

    id: int
    channel: str
    created_at: datetime
    last_message_at: datetime
    lead: Lead | None = None
    assignee_id: int | None = None
    manual_reply_mode: bool = False
    messages: list[Message] = field(default_factory=list)
    escalations: list[Escalation] = field(default_factory=list)

    @property
    def share_url(self) -> str:
        return f"https://share.example.com/c/{self.id * 2654435761 % 2**32:08x}"

    @property
    def is_escalated(self) -> bool:
        """Whether the last escalation is still open."""
        return bool(self.escalations) and self.escalations[-1].resolved_at is None

    @property
    def last_customer_message_at(self) -> datetime | None:
        customer = (m.created_at for m in reversed(self.messages) if m.role == "user")
        return next(customer, None)


@dataclass(slots=True)
class Chat:
    """One chat: its users and conversations by id, and those that were removed.

    Change it only through its methods. Each takes the time of the change as `at`, which needs a
    time zone and is cut to whole seconds, and increments `version`. An unknown conversation or user
    raises KeyError, a change that is impossible at that time ValueError.
    """

    chat_id: int = 1
    users: dict[int, User] = field(default_factory=dict)
    conversations: dict[int, Conversation] = field(default_factory=dict)
    deleted: dict[int, Conversation] = field(default_factory=dict)
    removed_users: dict[int, User] = field(default_factory=dict)
    version: int = 0
    next_conversation_id: int = 1
    next_message_id: int = 1

    def user(self, user_id: int) -> User:
        """A current or removed user: a conversation still shows a removed assignee's name."""
        return self.users[user_id] if user_id in self.users else self.removed_users[user_id]

    def add_conversation(
        self,
        *,
        at: datetime,
        channel: str = "web",
        lead: Lead | None = None,
        message: str = texts.CUSTOMER[0],
    ) -> Conversation:
        """Start a conversation with the customer's first message."""
        at = whole_second(at)
        conversation = Conversation(self.next_conversation_id, channel, at, at, lead)
        self.next_conversation_id += 1
        self.conversations[conversation.id] = conversation
        self.add_message(conversation.id, at=at, message=message)
        return conversation

    def add_message(
        self,
        conversation_id: int,
        *,
        at: datetime,
        role: Role = "user",
        manual_reply: bool = False,
        sender_id: int | None = None,
        message: str = texts.CUSTOMER[0],
    ) -> Message:
        """Append a message, which moves `last_message_at`.

        If `at` is before the conversation's last message, the new one gets that message's time.
        """
        conversation = self.conversations[conversation_id]
        at = max(whole_second(at), conversation.last_message_at)
        added = Message(self.next_message_id, role, message, at, manual_reply, sender_id)
        self.next_message_id += 1
        conversation.messages.append(added)
        conversation.last_message_at = at
        self.version += 1
        return added

    def escalate(self, conversation_id: int, *, at: datetime) -> Escalation:
        """Escalate without moving `last_message_at`. An earlier one that is open stays unresolved.

        Raises ValueError unless `at` is later than the previous escalation and its resolution.
        """
        conversation = self.conversations[conversation_id]
        at = whole_second(at)
        if not _can_escalate(conversation, at):
            raise ValueError(f"conversation {conversation_id} cannot be escalated at {at}")
        escalation = Escalation(at)
        conversation.escalations.append(escalation)
        self.version += 1
        return escalation

    def resolve(self, conversation_id: int, *, at: datetime) -> Escalation:
        """Resolve the open escalation; ValueError if none is. `last_message_at` does not move."""
        conversation = self.conversations[conversation_id]
        at = whole_second(at)
        if not _can_resolve(conversation, at):
            raise ValueError(f"conversation {conversation_id} has nothing to resolve at {at}")
        conversation.escalations[-1].resolved_at = at
        self.version += 1
        return conversation.escalations[-1]

    def assign(self, conversation_id: int, user_id: int | None, *, at: datetime) -> Conversation:
        """Assign the conversation to a user (manual mode), or hand it back to the AI with None."""
        conversation = self.conversations[conversation_id]
        whole_second(at)
        if user_id is not None and user_id not in self.users:
            raise KeyError(user_id)
        conversation.assignee_id = user_id
        conversation.manual_reply_mode = user_id is not None
        self.version += 1
        return conversation

    def delete_newest_message(self, conversation_id: int, *, at: datetime) -> Message:
        """Delete the last message, which moves `last_message_at` back to the one before it.

        Raises ValueError if it is the only one.
        """
        whole_second(at)
        conversation = self.conversations[conversation_id]
        if len(conversation.messages) < 2:
            raise ValueError(f"conversation {conversation_id} has only one message")
        deleted = conversation.messages.pop()
        conversation.last_message_at = conversation.messages[-1].created_at
        self.version += 1
        return deleted

    def delete_conversation(self, conversation_id: int, *, at: datetime) -> None:
        """Hide a conversation with all its messages."""
        whole_second(at)
        self.deleted[conversation_id] = self.conversations.pop(conversation_id)
        self.version += 1

    def restore_conversation(self, conversation_id: int, *, at: datetime) -> None:
        """Bring a deleted conversation back as it was."""
        whole_second(at)
        self.conversations[conversation_id] = self.deleted.pop(conversation_id)
        self.version += 1

    def remove_user(self, user_id: int, *, at: datetime) -> None:
        """Remove a user from the chat. Conversations stay assigned to them."""
        whole_second(at)
        self.removed_users[user_id] = self.users.pop(user_id)
        self.version += 1

    def change(
        self,
        random: Random,
        *,
        at: datetime,
        kinds: Sequence[ChangeKind] = LIFELIKE,
    ) -> ChangeKind:
        """Make one random change of these kinds and return its kind, the name of its method.

        If nothing allows it, a message is added instead.
        """
        at = whole_second(at)
        kind = random.choices(kinds, [ODDS.get(kind, 1) for kind in kinds])[0]
        if kind == "escalate" and (c := self._pick(random, lambda c: _can_escalate(c, at))):
            self.escalate(c.id, at=at)
        elif kind == "resolve" and (c := self._pick(random, lambda c: _can_resolve(c, at))):
            self.resolve(c.id, at=at)
        elif kind == "assign" and self.users and (c := self._pick(random)):
            user_id = None if c.manual_reply_mode else random.choice(list(self.users))
            self.assign(c.id, user_id, at=at)
        elif kind == "delete_conversation" and (c := self._pick(random)):
            self.delete_conversation(c.id, at=at)
        elif kind == "restore_conversation" and self.deleted:
            self.restore_conversation(random.choice(list(self.deleted)), at=at)
        elif kind == "delete_newest_message" and (
            c := self._pick(random, lambda c: len(c.messages) > 1)
        ):
            self.delete_newest_message(c.id, at=at)
        elif kind != "add_conversation" and (c := self._pick(random)):
            kind = "add_message"
            self._add_random_message(random, c, at)
        else:
            kind = "add_conversation"
            channel = random.choices(list(CHANNELS), list(CHANNELS.values()))[0]
            self.add_conversation(at=at, channel=channel, message=random.choice(texts.CUSTOMER))
        return kind

    def _add_random_message(self, random: Random, conversation: Conversation, at: datetime) -> None:
        last = conversation.messages[-1].role if conversation.messages else "assistant"
        if last == "assistant" or random.random() < 0.2:
            text = random.choice(texts.CUSTOMER)
            self.add_message(conversation.id, at=at, message=text)
        elif conversation.assignee_id is not None:
            self.add_message(
                conversation.id,
                at=at,
                role="assistant",
                manual_reply=True,
                sender_id=conversation.assignee_id,
                message=random.choice(texts.HUMAN),
            )
        else:
            text = random.choice(texts.AI)
            self.add_message(conversation.id, at=at, role="assistant", message=text)

    def _pick(
        self, random: Random, fits: Callable[[Conversation], bool] = lambda _: True
    ) -> Conversation | None:
        """A random conversation that fits, or None."""
        # Listing all 100,000 for every change would be slow; ids are dense enough to guess.
        if not self.conversations:
            return None
        first = next(iter(self.conversations))
        for _ in range(100):
            guess = self.conversations.get(random.randrange(first, self.next_conversation_id))
            if guess and fits(guess):
                return guess
        fitting = [c for c in self.conversations.values() if fits(c)]
        return random.choice(fitting) if fitting else None


def _can_escalate(conversation: Conversation, at: datetime) -> bool:
    if at < conversation.created_at:
        return False
    if not conversation.escalations:
        return True
    last = conversation.escalations[-1]
    return at > (last.resolved_at or last.escalated_at)


def _can_resolve(conversation: Conversation, at: datetime) -> bool:
    return conversation.is_escalated and at >= conversation.escalations[-1].escalated_at


def whole_second(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time needs its time zone")
    return at.astimezone(UTC).replace(microsecond=0)


def messages_since(messages: list[Message], since: datetime) -> list[Message]:
    """The messages at or after `since`, out of a conversation's ascending list."""
    return messages[bisect_left(messages, since, key=attrgetter("created_at")) :]
