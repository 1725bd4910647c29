"""Writing to Zipchat: take a conversation over, answer it, hand it back.

Everything is checked before anything is written. Assigning may be repeated. **A message is never
sent twice unless somebody asks for it**, which rests on four rules:

1. Each attempt is recorded in the warehouse before it is made (`warehouse/attempts.py`).
2. After an unclear failure (a time-out, a 5xx), the message is not sent again. The conversation is
   read several times instead. If the message does not appear, the outcome is unknown, and the error
   says so.
3. Another execution of the same run never sends again after an unknown outcome. If the message has
   arrived since, it continues from there.
4. Any other run refuses to send the same text to the same conversation for a day after an attempt
   that succeeded or may have, unless `send_again` is set.
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from zipchat_dagster.client import (
    CallError,
    ConversationRead,
    NotFoundError,
    StatusError,
    UnreachableError,
    ZipchatClient,
    ZipchatError,
)
from zipchat_dagster.client.answers import time_of
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.attempts import Attempt, Attempts
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.plain_text import plain_text
from zipchat_dagster.warehouse.store import MessageWork

META_CHANNELS: Final = frozenset({"whatsapp", "instagram", "messenger"})
META_WINDOW: Final = timedelta(hours=24)  # in which a customer's last message may be answered
PAUSES: Final = (0.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each look at what a failed write did
LOOK_BACK: Final = timedelta(minutes=10)  # how old a message may seem, since clocks differ


class WriteBackError(ZipchatError):
    """Something was not written, or may not have been. The message says which, and what to do."""


@dataclass(frozen=True)
class Reply:
    """A message to the customer. Neither logs nor `repr` show its text."""

    sender_id: int
    text: str = field(repr=False)

    @property
    def letters(self) -> str:
        """The part of the text that must be equal for two texts to count as the same."""
        return _letters(self.text)

    def is_shown_by(self, message: Mapping[str, Any]) -> bool:
        """Whether a message from the API is this one, however its text is marked up."""
        return (
            message.get("role") != "user"
            and message.get("manual_reply") is not False
            and message.get("sender_id") in (self.sender_id, None)
            and _letters(message.get("message")) == self.letters
        )


@dataclass(frozen=True)
class Orders:
    """What to do to one conversation, in this order.

    `send_again`: send the reply even if another run has sent the same text, or may have.
    """

    conversation_id: int
    take_over_by: int | None = None
    reply: Reply | None = None
    hand_back: bool = False
    send_again: bool = False


@dataclass(frozen=True)
class Step:
    """Something left to do: a description, and a call that does it and returns what was done."""

    what: str
    carry_out: Callable[[], str]


class Writer:
    """Carries out the orders for one conversation, each step at most once.

    `message_id` is the reply's id, once it is known.
    """

    def __init__(self, client: ZipchatClient, orders: Orders, attempts: Attempts) -> None:
        self.message_id: int | None = None
        self._client = client
        self._orders = orders
        self._attempts = attempts
        self._id = orders.conversation_id
        self._name = f"conversation {orders.conversation_id}"

    def plan(self) -> tuple[list[str], list[Step]]:
        """Check everything. Returns what is already in place, and the steps that remain.

        Raises:
            WriteBackError: the orders cannot be carried out. Nothing was written.
            WarehouseError: the earlier attempts cannot be read.
        """
        read = self._checked_read()
        if self._was_sent(read):
            in_place = [f"The message was already sent{self._number()}. It is not sent again."]
            steps: list[Step] = []
        else:
            in_place, steps = self._plan_up_to_reply(read)
        if self._orders.hand_back and (steps or not _is_with(read.conversation, None)):
            what = f"hand {self._name} back to the AI"
            done = f"{self._name.capitalize()} was handed back to the AI"
            steps.append(Step(what, lambda: self._assign(None, done)))
        elif self._orders.hand_back:
            in_place.append(f"The AI already has {self._name}.")
        return in_place, steps

    def _plan_up_to_reply(self, read: ConversationRead) -> tuple[list[str], list[Step]]:
        in_place, steps = [], []
        user_id, reply = self._orders.take_over_by, self._orders.reply
        if user_id is not None and _is_with(read.conversation, user_id):
            in_place.append(f"User {user_id} already has {self._name}.")
        elif user_id is not None:
            what = f"take {self._name} over for user {user_id}"
            done = f"{self._name.capitalize()} was taken over for user {user_id}"
            steps.append(Step(what, lambda: self._assign(user_id, done)))
        if reply:
            self._check_mode(read.conversation)
            self._check_meta_window(read)
            what = (
                f"send a {len(reply.text)}-character message to {self._name} as user"
                f" {reply.sender_id}"
            )
            steps.append(Step(what, lambda: self._send(reply, read)))
        return in_place, steps

    # Checks

    def _checked_read(self) -> ConversationRead:
        """The conversation, after the checks that do not depend on its state."""
        user_id, reply = self._orders.take_over_by, self._orders.reply
        if reply and not reply.text.strip():
            raise WriteBackError("The message is empty.")
        try:
            read = self._client.read_conversation(self._id)
        except NotFoundError:
            chat = self._client.chat_id
            raise WriteBackError(f"There is no {self._name} in chat {chat}.") from None
        for named in dict.fromkeys((user_id, reply.sender_id if reply else None)):
            if named is not None:
                self._check_user(named)
        return read

    def _check_user(self, user_id: int) -> None:
        try:
            self._client.get_user(user_id)
        except NotFoundError:
            raise WriteBackError(
                f"User {user_id} cannot be assigned to conversations of chat"
                f" {self._client.chat_id} or write in them. For those who can, see the table"
                " zipchat.users (is_current)."
            ) from None

    def _check_mode(self, conversation: Mapping[str, Any]) -> None:
        if self._orders.take_over_by is None and conversation.get("manual_reply_mode") is False:
            raise WriteBackError(
                f"The AI has {self._name}. People can only write in a conversation that was taken"
                " over: set take_over, or run take_over_job first."
            )

    def _check_meta_window(self, read: ConversationRead) -> None:
        channel = str(read.conversation.get("channel")).lower()
        if channel not in META_CHANNELS:
            return
        times = [time_of(m.get("created_at")) for m in read.messages if m.get("role") == "user"]
        heard_at = max((at for at in times if at is not None), default=None)
        now = self._client.server_time().replace(microsecond=0)  # the API's times are whole seconds
        if heard_at is None or now - heard_at > META_WINDOW:
            when = "never" if heard_at is None else f"at {heard_at:%Y-%m-%d %H:%M:%S} UTC"
            raise WriteBackError(
                f"The customer of {self._name} last wrote {when}. On {channel}, a reply can only be"
                " sent within 24 hours of that."
            )

    def _was_sent(self, read: ConversationRead) -> bool:
        """Whether an earlier execution of this run sent the message.

        Raises:
            WriteBackError: an earlier attempt forbids sending it.
        """
        reply = self._orders.reply
        if reply is None:
            return False
        earlier = self._attempts.earlier(reply.letters, self._client.server_time())
        for attempt in (attempt for attempt in earlier if attempt.is_own):
            was_sent = attempt.outcome == "sent"
            if was_sent or self._find(reply, read, attempt.newest_message_id):
                self.message_id = attempt.message_id or self.message_id
                return True
        self._check_attempts(earlier)
        return False

    def _check_attempts(self, earlier: Sequence[Attempt]) -> None:
        for attempt in earlier:
            if not attempt.is_own and self._orders.send_again:
                continue
            at = f"{attempt.at:%Y-%m-%d %H:%M:%S} UTC"
            if attempt.outcome == "sent":
                what = f"Run {attempt.run_id} sent this text to {self._name} at {at}."
            else:
                what = (
                    f"Run {attempt.run_id} tried to send this text to {self._name} at {at}, and"
                    " the outcome is unknown. Look at the conversation in Zipchat first."
                )
            raise WriteBackError(
                f"{what} It is not sent again unless a new run is launched with send_again: true."
            )

    # Assigning (may be repeated)

    def _assign(self, user_id: int | None, done: str) -> str:
        for pause in PAUSES:
            self._client.clock.sleep(pause)
            try:
                if user_id is None:
                    self._client.hand_back(self._id)
                else:
                    self._client.assign(self._id, user_id)
                return f"{done}."
            except CallError as error:
                if _is_refusal(error):
                    raise
                failure = error
            with suppress(ZipchatError):  # if it cannot be read, assign it again
                now = self._client.server_time()
                read = self._client.read_conversation(self._id, since=now)
                if _is_with(read.conversation, user_id):
                    return (
                        f"{done}. The response was lost, but reading the conversation confirmed it."
                    )
        raise WriteBackError(
            f"{sentence(failure)} {len(PAUSES)} attempts failed. Re-executing this run is safe: it"
            " does only what is missing."
        )

    # Sending (may not be repeated)

    def _send(self, reply: Reply, read: ConversationRead) -> str:
        newest = max(map(_id_of, read.messages), default=0)
        try:
            self._attempts.begin(
                reply.letters,
                self._client.server_time(),
                newest_message_id=newest,
                check=self._check_attempts,
            )
        except WarehouseError as error:
            raise WriteBackError(
                f"The message was not sent, because the attempt could not be recorded first."
                f" {sentence(error)}"
            ) from None
        how = ""
        try:
            message = self._client.send_message(
                self._id, message=reply.text, sender_id=reply.sender_id
            )
            self.message_id = _id_of(message) or None  # the answer may be about something else
        except CallError as error:
            why = sentence(error, hiding=reply.text)
            if _is_refusal(error):
                self._attempts.settle("refused")
                raise WriteBackError(f"The message was not sent. {why}") from None
            self._look_for_message(reply, newest, since=read.observed_at - LOOK_BACK, why=why)
            how = f" The response was lost, but reading the conversation showed the message. {why}"
        self._attempts.settle("sent", message_id=self.message_id)
        return (
            f"A {len(reply.text)}-character message was sent to {self._name} as user"
            f" {reply.sender_id}{self._number()}.{how}"
        )

    def _number(self) -> str:
        return f" (message {self.message_id})" if self.message_id else ""

    def _look_for_message(self, reply: Reply, newest: int, *, since: datetime, why: str) -> None:
        """Wait until the message is there.

        Raises:
            WriteBackError: it did not appear, so the outcome is unknown.
        """
        clock = self._client.clock
        began_at = clock.time()
        failures: list[ZipchatError] = []
        for pause in PAUSES:
            clock.sleep(pause)
            try:
                read = self._client.read_conversation(self._id, since=since)
            except ZipchatError as error:
                failures.append(error)
                continue
            if self._find(reply, read, newest):
                return
        failed = (
            f"; {len(failures)} of these reads failed, the last one with: {sentence(failures[-1])}"
            if failures
            else "."
        )
        raise WriteBackError(
            f"The outcome is unknown: the message may have been sent or not. {why}"
            f" {self._name.capitalize()} was read {len(PAUSES)} times over"
            f" {clock.time() - began_at:.0f} seconds, and the message did not appear{failed} It was"
            " not sent again. Look at the conversation in Zipchat first. If the message is not"
            " there after some minutes, launch a new run with send_again: true. Re-executing this"
            " run is safe: it continues if the message has arrived, and does not send it again."
        )

    def _find(self, reply: Reply, read: ConversationRead, newest: int) -> bool:
        """Whether the message came after the one with the id `newest`."""
        ids = (_id_of(message) for message in read.messages if reply.is_shown_by(message))
        self.message_id = next((i for i in ids if i > newest), None)
        return self.message_id is not None


def store_conversation(client: ZipchatClient, tables: Warehouse, conversation_id: int) -> str:
    """Read the conversation and store it with all its messages. Returns why that failed, or ""."""
    try:
        read = client.read_conversation(conversation_id)
        # All of it was read, so its coverage is right regardless of what was stored before.
        work = MessageWork(conversation_id, ask_from=None, first_day="")
        with tables.transaction() as transaction:
            store.store_reads(transaction, [(work, read)], chat_id=client.chat_id)
    except (ZipchatError, WarehouseError) as error:
        return sentence(error)
    return ""


def sentence(error: Exception, *, hiding: str = "") -> str:
    """An error as a sentence, without the API's own words if they quote the text to hide."""
    start = hiding.strip()[:30]  # of a long text, only the start is quoted
    if start and isinstance(error, StatusError) and start in (error.api_message or ""):
        return f"{error.method} {error.path}: the API answered {error.status}."
    return f"{str(error).rstrip('.')}."


def _is_refusal(error: CallError) -> bool:
    """Whether the call certainly changed nothing. After any other failure, that is unknown."""
    if isinstance(error, UnreachableError):
        return not error.was_sent
    return isinstance(error, StatusError) and 400 <= error.status < 500 and error.status != 408


def _is_with(conversation: Mapping[str, Any], user_id: int | None) -> bool:
    """Whether a conversation is with this user, or with the AI (None)."""
    is_manual = conversation.get("manual_reply_mode")
    if user_id is None:
        return is_manual is False
    assignee = conversation.get("assignee")
    return is_manual is True and isinstance(assignee, Mapping) and assignee.get("id") == user_id


def _id_of(record: Mapping[str, Any]) -> int:
    record_id = record.get("id")
    return record_id if isinstance(record_id, int) else 0


def _letters(text: Any) -> str:
    """A text without markup, white space and punctuation, since the API may wrap it into HTML or
    turn line breaks into tags."""
    plain = html.unescape(plain_text(text) or "")
    return re.sub(r"[\W_]+", "", re.sub(r"<[^<>]*>", "", plain)) or plain.strip()
