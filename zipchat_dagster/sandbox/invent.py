"""Inventing a chat: its users, customers, conversations, messages and escalations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from operator import attrgetter
from random import Random
from typing import Any

from zipchat_dagster.sandbox import texts
from zipchat_dagster.sandbox.chat import (
    CHANNELS,
    Chat,
    Conversation,
    Escalation,
    Lead,
    Message,
    Role,
    User,
    whole_second,
)

DAY = 86_400
BLOCK = 28 * DAY  # see `grow`
PER_BLOCK = 28 * 30  # conversations

# Conversations started per hour of the day (UTC) and per weekday (Monday first), relative.
_HOURS = (2, 1, 1, 1, 1, 2, 3, 5, 8, 11, 13, 13, 12, 12, 13, 13, 12, 11, 11, 12, 12, 10, 7, 4)
_WEEKDAYS = (1.15, 1.1, 1.05, 1.0, 0.95, 0.65, 0.6)

_FIRST_NAMES = ("Ada", "Bo", "Chloé", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Inès", "Jonas")
_LAST_NAMES = ("Sample", "Example", "Test", "Muster", "Placeholder", "Demo", "Specimen", "Mock")
_STATUSES = ("delivered", "delivered", "delivered", "read", "sent")


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

    Conversations begin within the last `days` days, more often at busy hours and on weekdays.
    The newest message is 1 to 10 minutes older than `now`; nothing is in the future.
    `max_messages` limits the messages of each conversation; without it, about 1 % have over 200.
    Every name, address and number is invented.
    """
    random = Random(f"zipchat sandbox {seed}")
    now_seconds = int(whole_second(now).timestamp())
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


def grow(*, chat_id: int, since: datetime, now: datetime) -> Chat:
    """Invent a chat that continues: a later `now` gives the same chat and what has happened since.

    It is written in blocks of four weeks, starting with the block before `since`. Each block has
    its own random sequence, and what comes after `now` is left out. Memory and time grow with the
    days between `since` and `now`: 1,000 days take a few seconds.
    """
    chat = Chat(chat_id=chat_id, users=_users(Random(f"zipchat sandbox {chat_id}")))
    now = whole_second(now)
    for number in range(int(since.timestamp()) // BLOCK - 1, int(now.timestamp()) // BLOCK + 1):
        random = Random(f"zipchat sandbox {chat_id} {number}")
        first, last = number * BLOCK, (number + 1) * BLOCK - 1
        # A conversation may last until the end of the next block.
        author = _Author(random, list(chat.users), last + BLOCK, None, first_lead=number * 100_000)
        block = Chat()
        _add_conversations(
            block, author, PER_BLOCK, first=first, last=last, ids_after=number * 100_000
        )
        _number_messages(block, random, after=number * 10_000_000)
        for conversation in block.conversations.values():
            if seen := _up_to(now, conversation):
                chat.conversations[seen.id] = seen
        chat.next_conversation_id = block.next_conversation_id
        chat.next_message_id = block.next_message_id
    return chat


def _up_to(now: datetime, conversation: Conversation) -> Conversation | None:
    """The conversation as it was at `now`; None if it had not begun."""
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
    """Add `count` conversations that begin in [first, last] (Unix seconds) to the chat."""
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
    """Give messages ids that are unique in the chat and ascend with time, as in a database."""
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
    """Rare cases by index of the conversation; even a small chat has some of each."""
    wanted = ["long"] * max(count // 100, 2 if count >= 50 else 0)
    cases = {"twice": 200, "open": 200, "overnight": 200, "unanswered": 200, "attachments": 200}
    cases |= {"midnight": 100, "burst": 100}
    if days >= 14:
        cases["weeks"] = 50
    for shape, one_in in cases.items():
        wanted += [shape] * max(count // one_in, 1)
    # Only in the older half is there enough time for them.
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
                self._say(
                    "user", texts.attachment(random.randrange(10**6), None), random.randint(0, 40)
                )
            return self._finished()

        self._chat(shape)
        if shape == "midnight":
            self._say("user", random.choice(texts.CUSTOMER), DAY - self.time % DAY)
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
        """Add a message `gap` seconds after the last event, unless too late or one too many."""
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
            # All of them must fit in before the end.
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
                text = texts.CUSTOMER[int(rand() * len(texts.CUSTOMER))]
                if dice < 0.02:
                    text = texts.attachment(int(rand() * 10**6), text if dice < 0.01 else None)
                gap = int(slowest * rand())
                if dice > 0.99 and shape is None:
                    gap = int(4 * DAY * rand())  # comes back later
            else:
                text = texts.AI[int(rand() * len(texts.AI))]
                gap = min(slowest, 1 + int(13 * rand()))
            if 0.5 < dice < 0.53:
                gap = 0  # in the same second
            if not self._say(role, text, gap):
                return
            if rand() > 0.12:
                role = "assistant" if role == "user" else "user"

    def _escalate(self, shape: str | None) -> None:
        random = self.random
        self._say("user", texts.WANTS_HUMAN, random.randint(10, 120))
        self.time += random.randint(1, 5)
        if self.time > self.end:
            return
        escalation = Escalation(_time(self.time))
        self.conversation.escalations.append(escalation)
        self._say("assistant", texts.HANDOVER, random.randint(0, 3))

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
        if not self._say("assistant", random.choice(texts.HUMAN), gap, user_id):
            return False
        self.conversation.assignee_id = user_id
        self.conversation.manual_reply_mode = True
        for _ in range(int(4 * random.random())):
            self._say("user", random.choice(texts.CUSTOMER), random.randint(20, 900))
            gap = random.randint(30, 1200)
            self._say("assistant", random.choice(texts.HUMAN), gap, user_id)
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
