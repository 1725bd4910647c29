"""The data of one chat, how to invent it, and how it changes. Nothing here knows of HTTP.

Times are `datetime`s in UTC with whole seconds, as the API shows them.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import accumulate
from operator import attrgetter
from random import Random
from typing import Any, Literal

Role = Literal["user", "assistant"]

DAY = 86_400
BLOCK = 28 * DAY  # of a chat that goes on
CHANNELS = {"web": 46, "whatsapp": 17, "email": 12, "instagram": 10, "messenger": 8, "chat": 7}
META_CHANNELS = frozenset({"whatsapp", "instagram", "messenger"})

# Conversations started per hour of the day (UTC) and per weekday (Monday first), relative.
_HOURS = (2, 1, 1, 1, 1, 2, 3, 5, 8, 11, 13, 13, 12, 12, 13, 13, 12, 11, 11, 12, 12, 10, 7, 4)
_WEEKDAYS = (1.15, 1.1, 1.05, 1.0, 0.95, 0.65, 0.6)

_FIRST_NAMES = ("Ada", "Bo", "Chloé", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Inès", "Jonas")
_LAST_NAMES = ("Sample", "Example", "Test", "Muster", "Placeholder", "Demo", "Specimen", "Mock")
_CUSTOMER_TEXTS = (
    "Where is my order?",
    "Hi, do you ship to Norway?",
    "The zip of the jacket broke after two days.",
    "Can I change the delivery address?",
    "Is the blue one in stock again soon?",
    "How do I return a pair of shoes?",
    "thanks!",
    "Yes, please",
    "My discount code does not work 😕",
    "<p>Hello,</p><p>I was charged twice for the same order.</p>",
    "Which size fits 182 cm?\nI usually wear L.",
    "Ça marche aussi avec une carte cadeau ?",
)
_AI_TEXTS = (
    "<p>Hi! How can I help you today?</p>",
    "<p>Your parcel left our warehouse yesterday.<br>It should arrive in 2 to 3 days.</p>",
    "<p>You can return any item within <b>30 days</b>.</p><p>Shall I send you the form?</p>",
    "We ship to all of Europe, and shipping is free above 50 &euro;.",
    "<p>I could not find that order.<br/>Could you check the number?</p>",
    "It runs true to size.",
    "<p>Is there anything else I can do for you?</p>",
)
_HUMAN_TEXTS = (
    "Hello, I am taking over from our assistant. Let me look into it.",
    "<p>I have refunded the second charge, it takes 3 working days.</p>",
    "A replacement is on its way to you.",
    "Could you send a photo of the label, please?",
    "Done, the address is changed.",
)
_WANTS_HUMAN = "I would like to talk to a person."
_HANDOVER = "<p>I have passed this on to a colleague, who will answer you here.</p>"
_STATUSES = ("delivered", "delivered", "delivered", "read", "sent")


def _attachment(number: int, text: str | None) -> str:
    url = f"https://files.example.com/uploads/{number}.jpg"
    blocks: list[dict[str, Any]] = [{"type": "image", "source": {"url": url}}]
    if text is not None:
        blocks.append({"type": "text", "text": text})
    return json.dumps(blocks)


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
    """A customer, as far as known. One lead can have several conversations."""

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
        return " ".join(name for name in (self.first_name, self.last_name) if name) or None


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
    """One escalation as it really happened; the API shows only a conversation's last one."""

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
    """One chat: its users, its conversations by id, and what was removed from both.

    Every change goes through a method, which takes the time of the change as `at` (time zone
    required, cut to whole seconds) and counts `version` up. An unknown conversation or user
    raises KeyError, a change that cannot be made at that time ValueError.
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
        """A present or former user: an assignee who left is still shown by name."""
        return self.users[user_id] if user_id in self.users else self.removed_users[user_id]

    def add_conversation(
        self,
        *,
        at: datetime,
        channel: str = "web",
        lead: Lead | None = None,
        message: str = _CUSTOMER_TEXTS[0],
    ) -> Conversation:
        """Start a conversation with the customer's first message."""
        at = _whole_second(at)
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
        message: str = _CUSTOMER_TEXTS[0],
    ) -> Message:
        """Append a message, which moves `last_message_at`.

        Messages never go back in time: before the conversation's last one, `at` becomes its time.
        """
        conversation = self.conversations[conversation_id]
        at = max(_whole_second(at), conversation.last_message_at)
        added = Message(self.next_message_id, role, message, at, manual_reply, sender_id)
        self.next_message_id += 1
        conversation.messages.append(added)
        conversation.last_message_at = at
        self.version += 1
        return added

    def escalate(self, conversation_id: int, *, at: datetime) -> Escalation:
        """Escalate; `last_message_at` stays. An earlier escalation still open remains so for good.

        Raises ValueError unless `at` is later than the previous escalation and its resolution.
        """
        conversation = self.conversations[conversation_id]
        at = _whole_second(at)
        if not _can_escalate(conversation, at):
            raise ValueError(f"conversation {conversation_id} cannot be escalated at {at}")
        escalation = Escalation(at)
        conversation.escalations.append(escalation)
        self.version += 1
        return escalation

    def resolve(self, conversation_id: int, *, at: datetime) -> Escalation:
        """Resolve the open escalation; `last_message_at` stays. ValueError if none is open."""
        conversation = self.conversations[conversation_id]
        at = _whole_second(at)
        if not _can_resolve(conversation, at):
            raise ValueError(f"conversation {conversation_id} has nothing to resolve at {at}")
        conversation.escalations[-1].resolved_at = at
        self.version += 1
        return conversation.escalations[-1]

    def assign(self, conversation_id: int, user_id: int | None, *, at: datetime) -> Conversation:
        """Give the conversation to a user (manual mode) or, with None, back to the AI."""
        conversation = self.conversations[conversation_id]
        _whole_second(at)
        if user_id is not None and user_id not in self.users:
            raise KeyError(user_id)
        conversation.assignee_id = user_id
        conversation.manual_reply_mode = user_id is not None
        self.version += 1
        return conversation

    def delete_newest_message(self, conversation_id: int, *, at: datetime) -> Message:
        """Delete the last message, which takes `last_message_at` back to the one before it.

        Raises ValueError if it is the only one.
        """
        _whole_second(at)
        conversation = self.conversations[conversation_id]
        if len(conversation.messages) < 2:
            raise ValueError(f"conversation {conversation_id} has only one message")
        deleted = conversation.messages.pop()
        conversation.last_message_at = conversation.messages[-1].created_at
        self.version += 1
        return deleted

    def delete_conversation(self, conversation_id: int, *, at: datetime) -> None:
        """Hide a conversation with all its messages."""
        _whole_second(at)
        self.deleted[conversation_id] = self.conversations.pop(conversation_id)
        self.version += 1

    def restore_conversation(self, conversation_id: int, *, at: datetime) -> None:
        """Bring a deleted conversation back as it was."""
        _whole_second(at)
        self.conversations[conversation_id] = self.deleted.pop(conversation_id)
        self.version += 1

    def remove_user(self, user_id: int, *, at: datetime) -> None:
        """Take a user off the chat. Conversations stay assigned to them, as they were."""
        _whole_second(at)
        self.removed_users[user_id] = self.users.pop(user_id)
        self.version += 1

    def change(self, random: Random, *, at: datetime, deletions: bool = True) -> str:
        """Make one random change, mostly a new message, and return the name of its method."""
        at = _whole_second(at)
        kinds = {"add_message": 62, "add_conversation": 14, "escalate": 8, "resolve": 6}
        kinds["assign"] = 7
        if deletions:
            kinds |= {"delete_conversation": 2, "restore_conversation": 1}
        kind = random.choices(list(kinds), list(kinds.values()))[0]

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
        elif kind != "add_conversation" and (c := self._pick(random)):
            kind = "add_message"
            self._add_random_message(random, c, at)
        else:
            kind = "add_conversation"
            channel = random.choices(list(CHANNELS), list(CHANNELS.values()))[0]
            self.add_conversation(at=at, channel=channel, message=random.choice(_CUSTOMER_TEXTS))
        return kind

    def _add_random_message(self, random: Random, conversation: Conversation, at: datetime) -> None:
        last = conversation.messages[-1].role if conversation.messages else "assistant"
        if last == "assistant" or random.random() < 0.2:
            text = random.choice(_CUSTOMER_TEXTS)
            self.add_message(conversation.id, at=at, message=text)
        elif conversation.assignee_id is not None:
            self.add_message(
                conversation.id,
                at=at,
                role="assistant",
                manual_reply=True,
                sender_id=conversation.assignee_id,
                message=random.choice(_HUMAN_TEXTS),
            )
        else:
            text = random.choice(_AI_TEXTS)
            self.add_message(conversation.id, at=at, role="assistant", message=text)

    def _pick(
        self, random: Random, fits: Callable[[Conversation], bool] = lambda _: True
    ) -> Conversation | None:
        """A random conversation that fits, or None."""
        # A list of all 100,000 for every change would be slow; ids are dense enough to guess.
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


def _whole_second(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time needs its time zone")
    return at.astimezone(UTC).replace(microsecond=0)


def generate(
    *,
    seed: int,
    conversations: int,
    days: int,
    now: datetime,
    chat_id: int = 1,
    max_messages: int | None = None,
) -> Chat:
    """Invent a chat: the same arguments give the same data.

    Conversations are created over the last `days` days, with a shape over the week and the day.
    The newest message is 1 to 10 minutes older than `now`; nothing is in the future.
    `max_messages` caps the messages of each conversation; without it about 1 % have over 200.
    Every name, address and number is made up.
    """
    random = Random(f"zipchat sandbox {seed}")
    now_seconds = int(_whole_second(now).timestamp())
    start = now_seconds - days * DAY
    end = now_seconds - random.randint(60, 600)
    chat = Chat(chat_id=chat_id, users=_users(random))
    author = _Author(random, list(chat.users), end, max_messages)
    _add_conversations(chat, author, conversations, first=min(start, end), last=end)
    if chat.conversations:
        newest = max(chat.conversations.values(), key=attrgetter("last_message_at"))
        newest.messages[-1].created_at = newest.last_message_at = _time(end)
    _number_messages(chat, random, after=random.randint(500_000, 900_000))
    return chat


def grow(*, seed: int, since: datetime, now: datetime, per_day: int = 30, chat_id: int = 1) -> Chat:
    """Invent a chat that goes on: a later `now` gives the same chat, and what came in between.

    It is written in blocks of four weeks, from the one before `since` on, each with a random
    sequence of its own, and whatever comes after `now` is left out. Memory and time go with the
    days from `since` to `now`: 1,000 days take a few seconds.
    """
    chat = Chat(chat_id=chat_id, users=_users(Random(f"zipchat sandbox {seed}")))
    now = _whole_second(now)
    for number in range(int(since.timestamp()) // BLOCK - 1, int(now.timestamp()) // BLOCK + 1):
        random = Random(f"zipchat sandbox {seed} {number}")
        first, last = number * BLOCK, (number + 1) * BLOCK - 1
        # What began in a block has the time of another one to end; its leads and ids are its own.
        author = _Author(random, list(chat.users), last + BLOCK, None, first_lead=number * 100_000)
        block = Chat()
        count = per_day * BLOCK // DAY
        _add_conversations(block, author, count, first=first, last=last, ids_after=number * 100_000)
        _number_messages(block, random, after=number * 10_000_000)
        for conversation in block.conversations.values():
            if seen := _up_to(now, conversation):
                chat.conversations[seen.id] = seen
        chat.next_conversation_id = block.next_conversation_id
        chat.next_message_id = block.next_message_id
    return chat


def _up_to(now: datetime, conversation: Conversation) -> Conversation | None:
    """The conversation as it was at `now`; None where it had not begun."""
    messages = [message for message in conversation.messages if message.created_at <= now]
    if not messages:
        return None
    escalations = [
        Escalation(
            e.escalated_at, e.resolved_at if e.resolved_at and e.resolved_at <= now else None
        )
        for e in conversation.escalations
        if e.escalated_at <= now
    ]
    if len(messages) == len(conversation.messages) and escalations == conversation.escalations:
        return conversation
    human = next((m.sender_id for m in reversed(messages) if m.manual_reply), None)
    is_resolved = bool(escalations) and escalations[-1].resolved_at is not None
    return replace(
        conversation,
        messages=messages,
        escalations=escalations,
        last_message_at=messages[-1].created_at,
        assignee_id=None if is_resolved else human,
        manual_reply_mode=human is not None and not is_resolved,
    )


def _add_conversations(
    chat: Chat, author: _Author, count: int, *, first: int, last: int, ids_after: int = 0
) -> None:
    """Write `count` conversations that begin in [first, last] (Unix seconds) into the chat."""
    random = author.random
    channels = random.choices(list(CHANNELS), list(CHANNELS.values()), k=count)
    if count >= len(CHANNELS):
        for index, channel in zip(
            random.sample(range(count), len(CHANNELS)), CHANNELS, strict=True
        ):
            channels[index] = channel
    shapes = _shapes(random, count, round((last - first) / DAY))
    conversation_id = ids_after + random.randint(20_000, 40_000)
    for index, created in enumerate(_creation_times(random, count, first, last)):
        conversation_id += 1 if random.random() < 0.7 else random.randint(2, 5)
        chat.conversations[conversation_id] = author.write(
            conversation_id, channels[index], created, shapes.get(index)
        )
    chat.next_conversation_id = conversation_id + 1


def _number_messages(chat: Chat, random: Random, *, after: int) -> None:
    """Ids are global and ascend with time, as a database hands them out."""
    messages = [m for c in chat.conversations.values() for m in c.messages]
    messages.sort(key=attrgetter("created_at"))
    message_id = after
    for message in messages:
        message_id += 1 if random.random() < 0.8 else 3
        message.id = message_id
    chat.next_message_id = message_id + 1


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _users(random: Random) -> dict[int, User]:
    users: dict[int, User] = {}
    user_id = random.randint(300, 900)
    for number, first_name in enumerate(random.sample(_FIRST_NAMES, random.randint(4, 6))):
        user_id += random.randint(1, 40)
        users[user_id] = User(
            id=user_id,
            first_name=first_name,
            last_name="Agent",
            email=f"agent{number + 1}@example.org",
            avatar_url=None if number % 2 else f"https://files.example.com/avatars/{user_id}.png",
            role="participant" if number else "owner",
        )
    return users


def _shapes(random: Random, count: int, days: int) -> dict[int, str]:
    """Which conversations (by index) are rare cases, so that even a small chat has some of each."""
    wanted = ["long"] * max(count // 100, 2 if count >= 50 else 0)
    cases = {"twice": 200, "open": 200, "overnight": 200, "unanswered": 200, "attachments": 200}
    cases |= {"midnight": 100, "burst": 100}
    if days >= 14:
        cases["weeks"] = 50
    for shape, one_in in cases.items():
        wanted += [shape] * max(count // one_in, 1)
    # In the older half they have time to unfold.
    older = range(max(count // 2, 1) if count else 0)
    return dict(zip(random.sample(older, min(len(older), len(wanted))), wanted, strict=False))


def _creation_times(random: Random, count: int, start: int, end: int) -> list[int]:
    """`count` ascending times between start and end, a few of them exactly at midnight."""
    hours = range(start - start % 3600, end + 1, 3600)
    day_factor: dict[int, float] = {}
    weights = []
    for hour in hours:
        day, second = divmod(hour, DAY)
        factor = day_factor.setdefault(day, random.uniform(0.8, 1.2))
        covered = min(hour + 3600, end + 1) - max(hour, start)
        weekday = _WEEKDAYS[(day + 3) % 7]  # day 0, 1970-01-01, was a Thursday
        weights.append(_HOURS[second // 3600] * weekday * factor * covered)
    times = []
    for number, hour in enumerate(
        random.choices(hours, cum_weights=list(accumulate(weights)), k=count) if count else ()
    ):
        first, last = max(hour, start), min(hour + 3599, end)
        time = first + int(random.random() * (last - first + 1))
        midnight = time - time % DAY
        times.append(midnight if number % 100 == 0 and midnight >= start else time)
    return sorted(times)


class _Author:
    """Writes conversations that end no later than `end`, in Unix seconds."""

    def __init__(
        self,
        random: Random,
        user_ids: list[int],
        end: int,
        max_messages: int | None,
        first_lead: int = 0,
    ) -> None:
        self.random = random
        self.user_ids = user_ids
        self.end = end
        self.cap = max_messages
        self.first_lead = first_lead
        self.leads: list[Lead] = []
        self.conversation = Conversation(0, "web", _time(0), _time(0))
        self.time = 0

    def write(
        self, conversation_id: int, channel: str, created: int, shape: str | None
    ) -> Conversation:
        """A conversation started at `created`; `shape` asks for one of the rare cases."""
        random = self.random
        at = _time(created)
        self.conversation = Conversation(conversation_id, channel, at, at, self._lead(channel))
        self.time = created
        if shape == "attachments":
            for _ in range(random.randint(1, 3)):
                self._say("user", _attachment(random.randrange(10**6), None), random.randint(0, 40))
            return self._finished()

        self._chat(shape)
        if shape == "midnight":
            self._say("user", random.choice(_CUSTOMER_TEXTS), DAY - self.time % DAY)
        if shape in ("twice", "open", "overnight", "unanswered") or random.random() < 0.11:
            self._escalate(shape)
            last = self.conversation.escalations[-1:]
            if last and last[0].resolved_at and (shape == "twice" or random.random() < 0.12):
                self.time = max(self.time, int(last[0].resolved_at.timestamp()))
                self.time += random.randint(600, DAY // 2)
                self._escalate(None)
        elif random.random() < 0.04:
            self._take_over(random.randint(60, 3600))
            if random.random() < 0.5:
                self._hand_back()
        return self._finished()

    def _finished(self) -> Conversation:
        self.conversation.last_message_at = self.conversation.messages[-1].created_at
        return self.conversation

    def _say(self, role: Role, text: str, gap: int, sender_id: int | None = None) -> bool:
        """Add a message `gap` seconds after the last event, unless it is too late or too many."""
        messages = self.conversation.messages
        if messages and (
            self.time + gap > self.end or (self.cap is not None and len(messages) >= self.cap)
        ):
            return False
        self.time += gap if messages else 0
        status = _STATUSES[int(self.random.random() * len(_STATUSES))]
        messages.append(
            Message(0, role, text, _time(self.time), sender_id is not None, sender_id, status)
        )
        return True

    def _chat(self, shape: str | None) -> None:
        """The customer and the AI."""
        rand = self.random.random
        slowest = 240
        count = 2 + int(14 * rand() ** 2) if rand() > 0.04 else 1
        if shape == "long":
            count = self.random.randint(201, 420)
            # All of them have to fit in before the end.
            slowest = min(600, (self.end - self.time) // (count + 1))
        elif shape == "weeks":
            count = self.random.randint(12, 40)
            slowest = 3 * DAY
        elif shape == "burst":
            count, slowest = max(count, 4), 1
        role: Role = "user"
        for _ in range(count):
            dice = rand()
            if role == "user":
                text = _CUSTOMER_TEXTS[int(rand() * len(_CUSTOMER_TEXTS))]
                if dice < 0.02:
                    text = _attachment(int(rand() * 10**6), text if dice < 0.01 else None)
                gap = int(slowest * rand())
                if dice > 0.99 and shape is None:
                    gap = int(4 * DAY * rand())  # comes back later
            else:
                text = _AI_TEXTS[int(rand() * len(_AI_TEXTS))]
                gap = min(slowest, 1 + int(13 * rand()))
            if 0.5 < dice < 0.53:
                gap = 0  # in the same second
            if not self._say(role, text, gap):
                return
            if rand() > 0.12:
                role = "assistant" if role == "user" else "user"

    def _escalate(self, shape: str | None) -> None:
        random = self.random
        self._say("user", _WANTS_HUMAN, random.randint(10, 120))
        self.time += random.randint(1, 5)
        if self.time > self.end:
            return
        escalation = Escalation(_time(self.time))
        self.conversation.escalations.append(escalation)
        self._say("assistant", _HANDOVER, random.randint(0, 3))

        outcome = random.random()
        is_answered = False
        if shape == "overnight" or 0.62 <= outcome < 0.74:
            to_morning = DAY - self.time % DAY + random.randint(7 * 3600, 10 * 3600)
            is_answered = self._take_over(to_morning)
        elif shape != "unanswered" and outcome < 0.62:
            is_answered = self._take_over(45 + int(random.expovariate(1 / 900)))
        elif random.random() < 0.4:
            self._say("user", "Hello? Is anybody there?", random.randint(600, 20_000))

        resolved = self.time + 60 + int(random.expovariate(1 / 7200))
        is_resolved = random.random() < (0.8 if is_answered else 0.25)
        if (is_resolved or shape == "twice") and shape != "open" and resolved <= self.end:
            escalation.resolved_at = _time(resolved)
            if random.random() < 0.85:
                self._hand_back()

    def _take_over(self, gap: int) -> bool:
        """A human answers after `gap` seconds and goes on for a while."""
        random = self.random
        user_id = random.choice(self.user_ids)
        if not self._say("assistant", random.choice(_HUMAN_TEXTS), gap, user_id):
            return False
        self.conversation.assignee_id = user_id
        self.conversation.manual_reply_mode = True
        for _ in range(int(4 * random.random())):
            self._say("user", random.choice(_CUSTOMER_TEXTS), random.randint(20, 900))
            gap = random.randint(30, 1200)
            self._say("assistant", random.choice(_HUMAN_TEXTS), gap, user_id)
        return True

    def _hand_back(self) -> None:
        self.conversation.assignee_id = None
        self.conversation.manual_reply_mode = False

    def _lead(self, channel: str) -> Lead | None:
        rand = self.random.random
        if channel in ("web", "chat") and rand() < 0.4:
            return None
        if self.leads and rand() < 0.2:
            return self.leads[int(rand() * len(self.leads))]
        number = self.first_lead + len(self.leads) + 1
        first_name = _FIRST_NAMES[int(rand() * len(_FIRST_NAMES))] if rand() < 0.85 else None
        last_name = _LAST_NAMES[int(rand() * len(_LAST_NAMES))] if rand() < 0.7 else None
        has_email = channel == "email" or rand() < 0.7
        has_phone = channel == "whatsapp" or rand() < 0.25
        attributes: dict[str, Any] = {}
        if rand() < 0.3:
            attributes = {"locale": "en" if rand() < 0.6 else "fr", "orders_count": int(9 * rand())}
        lead = Lead(
            id=7000 + number,
            first_name=first_name,
            last_name=last_name,
            email=f"customer{number}@example.com" if has_email else None,
            phone_number=f"+1202555{100 + number % 100:04}" if has_phone else None,
            email_marketing_consent=None if rand() < 0.05 else rand() < 0.4,
            shopify_customer_id=6_200_000_000_000 + number if rand() < 0.5 else None,
            additional_attributes=attributes,
        )
        self.leads.append(lead)
        return lead


def messages_since(messages: list[Message], since: datetime) -> list[Message]:
    """The messages at or after `since`, out of a conversation's ascending list."""
    return messages[bisect_left(messages, since, key=attrgetter("created_at")) :]
