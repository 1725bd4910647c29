"""Writing to Zipchat from Dagster: take a conversation over, answer it, hand it back.

Each job checks everything before it writes anything, and ends with the conversation read again and
stored, so that the tables show at once what was done. Assigning may be repeated; **a message is
never sent twice**, which rests on three rules:

1. When it is open whether a message was sent (a time-out, a 5xx), it is not sent again: the
   conversation is read, several times, to see whether it is there.
2. Nothing repeats these jobs by itself: neither their op nor their run is retried.
3. Whoever re-executes a failed run by hand sends nothing that is there already: before a run sends,
   it notes in a tag which message was the newest, and a re-execution takes a newer one with the
   same sender and text for its own.
"""

import html
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import URGENT, cost
from zipchat_dagster.client import (
    CallError,
    ConversationRead,
    NotFoundError,
    RateLimitedError,
    StatusError,
    UnauthorizedError,
    UnprocessableError,
    UnreachableError,
    ZipchatClient,
    ZipchatError,
)
from zipchat_dagster.resources import WarehouseResource, ZipchatResource
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.plain_text import plain_text
from zipchat_dagster.warehouse.store import MessageWork
from zipchat_dagster.warehouse.warehouse import WarehouseError

META_CHANNELS: Final = frozenset({"whatsapp", "instagram", "messenger"})
META_WINDOW: Final = timedelta(hours=24)  # in which a customer's last message may be answered
PAUSES: Final = (0.0, 2.0, 4.0, 8.0)  # seconds before each look at what came of a failed write
LOOK_BACK: Final = timedelta(minutes=10)  # a look asks for messages from then on; clocks may differ
NEWEST_TAG: Final = "zipchat/newest_message_before_sending"
REFUSED: Final = (UnauthorizedError, NotFoundError, UnprocessableError, RateLimitedError)

sleep = time.sleep  # a name of its own, for tests


class WriteBackError(ZipchatError):
    """Something was not written, or nobody knows. The message says which, and what to do."""


@dataclass(frozen=True)
class Reply:
    """A message to the customer. No log and no `repr` shows its text."""

    sender_id: int
    text: str = field(repr=False)

    def is_shown_by(self, message: Mapping[str, Any]) -> bool:
        """Whether a message as the API gives it is this one, however its text is marked up."""
        return (
            message.get("role") != "user"
            and message.get("manual_reply") is not False
            and message.get("sender_id") in (self.sender_id, None)
            and _letters(message.get("message")) == _letters(self.text)
        )


@dataclass(frozen=True)
class Orders:
    """What is to be done to one conversation, in this order."""

    conversation_id: int
    take_over_by: int | None = None
    reply: Reply | None = None
    hand_back: bool = False


@dataclass(frozen=True)
class Step:
    """Something still to do: what, and a call that does it and returns what was done."""

    what: str
    carry_out: Callable[[], str]


class Writer:
    """Carries out orders for one conversation, each step at most once.

    Args:
        sent_after: the id of the newest message that was there before an earlier run with the
            same orders may have sent; None where no such run came that far.
        before_sending: given the id of the newest message there is, right before a message is sent.

    `message_id` is the reply's, as soon as it is known.
    """

    def __init__(
        self,
        client: ZipchatClient,
        orders: Orders,
        *,
        sent_after: int | None = None,
        before_sending: Callable[[int], None] = lambda newest: None,
    ) -> None:
        self.message_id: int | None = None
        self._client = client
        self._orders = orders
        self._id = orders.conversation_id
        self._name = f"conversation {orders.conversation_id}"
        self._sent_after = sent_after
        self._before_sending = before_sending

    def plan(self) -> tuple[list[str], list[Step]]:
        """Check everything: (what is in place already, the steps that remain).

        Raises:
            WriteBackError: the orders cannot be carried out. Nothing was written.
        """
        read = self._checked_read()
        sent = self._find_sent(read, self._sent_after)
        if sent is not None:
            in_place = [f"An earlier run sent the message ({sent}); it is not sent again."]
            steps: list[Step] = []
        else:
            in_place, steps = self._plan_up_to_reply(read)
        if self._orders.hand_back and (steps or not _is_with(read.conversation, None)):
            what = f"hand {self._name} back to the AI"
            done = f"{self._name.capitalize()} was handed back to the AI"
            steps.append(Step(what, lambda: self._assign(None, done)))
        elif self._orders.hand_back:
            in_place.append(f"The AI has {self._name} already.")
        return in_place, steps

    def _plan_up_to_reply(self, read: ConversationRead) -> tuple[list[str], list[Step]]:
        in_place, steps = [], []
        user_id, reply = self._orders.take_over_by, self._orders.reply
        if user_id is not None and _is_with(read.conversation, user_id):
            in_place.append(f"User {user_id} has {self._name} already.")
        elif user_id is not None:
            what = f"take {self._name} over for user {user_id}"
            done = f"{self._name.capitalize()} was taken over for user {user_id}"
            steps.append(Step(what, lambda: self._assign(user_id, done)))
        if reply:
            self._check_mode(read.conversation)
            self._check_meta_window(read)
            what = (
                f"send a message of {len(reply.text)} characters to {self._name} as user"
                f" {reply.sender_id}"
            )
            steps.append(Step(what, lambda: self._send(reply, read)))
        return in_place, steps

    @property
    def _chat(self) -> int:
        return self._client.chat_id

    # Checks

    def _checked_read(self) -> ConversationRead:
        """The conversation, after what does not depend on its state is checked."""
        user_id, reply = self._orders.take_over_by, self._orders.reply
        if reply and not reply.text.strip():
            raise WriteBackError("The message is empty.")
        try:
            read = self._client.read_conversation(self._id)
        except NotFoundError:
            raise WriteBackError(f"There is no {self._name} in chat {self._chat}.") from None
        for named in dict.fromkeys((user_id, reply.sender_id if reply else None)):
            if named is not None:
                self._check_user(named)
        return read

    def _check_user(self, user_id: int) -> None:
        try:
            self._client.get_user(user_id)
        except NotFoundError:
            raise WriteBackError(
                f"User {user_id} cannot be assigned to conversations of chat {self._chat}, nor"
                " write in them. The table zipchat.users lists who can (is_current)."
            ) from None

    def _check_mode(self, conversation: Mapping[str, Any]) -> None:
        if self._orders.take_over_by is None and conversation.get("manual_reply_mode") is False:
            raise WriteBackError(
                f"The AI has {self._name}, and people can write only in one that was taken over."
                " Set take_over, or run take_over_job first."
            )

    def _check_meta_window(self, read: ConversationRead) -> None:
        channel = str(read.conversation.get("channel")).lower()
        if channel not in META_CHANNELS:
            return
        times = [_time(m.get("created_at")) for m in read.messages if m.get("role") == "user"]
        heard_at = max((at for at in times if at is not None), default=None)
        now = self._client.server_time().replace(microsecond=0)  # as the API's times are
        if heard_at is None or now - heard_at > META_WINDOW:
            when = "never" if heard_at is None else f"{heard_at:%Y-%m-%d %H:%M:%S} UTC"
            raise WriteBackError(
                f"The customer of {self._name} wrote last: {when}. On {channel} an answer may be"
                " sent within 24 hours only."
            )

    # Assigning, which may be repeated

    def _assign(self, user_id: int | None, done: str) -> str:
        for pause in PAUSES:
            sleep(pause)
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
            with suppress(ZipchatError):  # if it cannot be read, it is assigned again
                now = self._client.server_time()
                read = self._client.read_conversation(self._id, since=now)
                if _is_with(read.conversation, user_id):
                    return f"{done}; the answer was lost, and reading the conversation showed it."
        raise WriteBackError(f"{_stated(failure)} So it was {len(PAUSES)} times.")

    # Sending, which may not

    def _send(self, reply: Reply, read: ConversationRead) -> str:
        newest = max(map(_id_of, read.messages), default=0)
        self._before_sending(newest)
        how = ""
        try:
            message = self._client.send_message(
                self._id, message=reply.text, sender_id=reply.sender_id
            )
            self.message_id = _id_of(message)
        except CallError as error:
            why = _stated(error, hiding=reply.text)
            if _is_refusal(error):
                raise WriteBackError(f"The message was not sent. {why}") from None
            self._look_for_message(newest, since=read.observed_at - LOOK_BACK, why=why)
            how = f" The answer was lost, and reading the conversation showed it. {why}"
        return (
            f"A message of {len(reply.text)} characters was sent to {self._name} as user"
            f" {reply.sender_id} (message {self.message_id}).{how}"
        )

    def _look_for_message(self, newest: int, *, since: datetime, why: str) -> None:
        """Return once the message is there; it may take a while to appear."""
        for pause in PAUSES:
            sleep(pause)
            try:
                read = self._client.read_conversation(self._id, since=since)
            except ZipchatError as error:
                raise WriteBackError(
                    f"Nobody knows whether the message was sent: {why} Nor could the conversation"
                    f" be read afterwards: {_stated(error)} Look at it in Zipchat. Re-executing"
                    " this run looks first, and sends only if the message is not there."
                ) from None
            if self._find_sent(read, newest) is not None:
                return
        raise WriteBackError(
            f"The message was not sent: {why} Reading {self._name} {len(PAUSES)} times within"
            f" {sum(PAUSES):.0f} s did not show it, and it was not sent again. Re-executing this"
            " run looks once more, and sends it if it is still not there."
        )

    def _find_sent(self, read: ConversationRead, after: int | None) -> int | None:
        """The id of the message, if it came after the one of id `after`."""
        reply = self._orders.reply
        if reply is None or after is None:
            return None
        ids = (_id_of(message) for message in read.messages if reply.is_shown_by(message))
        self.message_id = next((i for i in ids if i > after), None)
        return self.message_id


def _is_refusal(error: CallError) -> bool:
    """Whether the call surely changed nothing. Of everything else, an answer that is no success
    among them, nobody knows."""
    if isinstance(error, UnreachableError):
        return not error.was_sent
    return isinstance(error, REFUSED)


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
    """A text without its markup, white space and punctuation: the API may wrap what it is given
    into HTML, or turn line breaks into tags."""
    plain = html.unescape(plain_text(text) or "")
    return re.sub(r"[\W_]+", "", re.sub(r"<[^<>]*>", "", plain)) or plain.strip()


def _time(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _stated(error: Exception, *, hiding: str = "") -> str:
    """An error as a sentence, without the API's own words where they quote the message."""
    if hiding and isinstance(error, StatusError) and hiding.strip() in (error.api_message or ""):
        return f"{error.method} {error.path}: the API answered {error.status}."
    return f"{str(error).rstrip('.')}."


# In Dagster


class ConversationConfig(dg.Config):
    """Which conversation, and whether in earnest."""

    conversation_id: int = Field(description="The conversation's id, raw_conversations has it.")
    dry_run: bool = Field(
        default=False,
        description="Check everything and say what would be done; write nothing, here or there.",
    )


class TakeOverConfig(ConversationConfig):
    """Who takes it over."""

    assignee_id: int = Field(
        description="The user who takes it over, users.user_id; they must be assignable."
    )


class ReplyConfig(ConversationConfig):
    """Who writes what."""

    sender_id: int = Field(
        description="The user in whose name it is sent, users.user_id; they must be assignable."
    )
    message: str = Field(
        description="The text for the customer. Dagster keeps it in the run's config."
    )


class SendReplyConfig(ReplyConfig):
    """Who writes what, and how the conversation gets to them."""

    take_over: bool = Field(
        default=False,
        description="Take the conversation over for the sender first; else it must be already.",
    )


def _op(function: Callable[..., None]) -> dg.OpDefinition:
    """An op that nothing repeats: see the module's rules. In no pool: somebody waits for it."""
    return dg.op(out=dg.Out(dg.Nothing), retry_policy=dg.RetryPolicy(max_retries=0))(function)


@_op
def take_over(
    context: dg.OpExecutionContext,
    config: TakeOverConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> None:
    """Take a conversation over from the AI."""
    orders = Orders(config.conversation_id, take_over_by=config.assignee_id)
    _carry_out(orders, context, config, zipchat, warehouse)


@_op
def hand_back(
    context: dg.OpExecutionContext,
    config: ConversationConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> None:
    """Hand a conversation back to the AI and unassign it."""
    orders = Orders(config.conversation_id, hand_back=True)
    _carry_out(orders, context, config, zipchat, warehouse)


@_op
def send_reply(
    context: dg.OpExecutionContext,
    config: SendReplyConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> None:
    """Send a message to the customer, in a conversation that is taken over."""
    orders = Orders(
        config.conversation_id,
        take_over_by=config.sender_id if config.take_over else None,
        reply=Reply(config.sender_id, config.message),
    )
    _carry_out(orders, context, config, zipchat, warehouse)


@_op
def take_over_reply_hand_back(
    context: dg.OpExecutionContext,
    config: ReplyConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> None:
    """Take a conversation over, send one message, and hand it back to the AI."""
    orders = Orders(
        config.conversation_id,
        take_over_by=config.sender_id,
        reply=Reply(config.sender_id, config.message),
        hand_back=True,
    )
    _carry_out(orders, context, config, zipchat, warehouse)


def _carry_out(
    orders: Orders,
    context: dg.OpExecutionContext,
    config: ConversationConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> None:
    """Check, write, store; any failure ends the run with one description, and for good."""
    with zipchat.client(context) as client:
        try:
            writer = Writer(
                client,
                orders,
                sent_after=_noted_newest(context, orders) if orders.reply else None,
                before_sending=lambda newest: _note_newest(context, orders.conversation_id, newest),
            )
            done, steps = writer.plan()
        except ZipchatError as error:
            raise dg.Failure(
                description=f"{_stated(error)} Nothing was written.", allow_retries=False
            ) from None
        for sentence in done:
            context.log.info(sentence)
        failure: ZipchatError | None = None
        if config.dry_run:
            done += [f"Would {step.what}." for step in steps]
            context.log.info("\n".join(done))
        else:
            for step in steps:
                try:
                    done.append(step.carry_out())
                except ZipchatError as error:
                    failure = error
                    break
                context.log.info(done[-1])
            unstored = _store(client, warehouse.warehouse, orders.conversation_id)
            if failure or unstored:
                raise dg.Failure(
                    description=_failure_text(failure, done, unstored), allow_retries=False
                )
        context.add_output_metadata(
            {
                "conversation_id": orders.conversation_id,
                "done": dg.MetadataValue.json(done),
                "is_dry_run": config.dry_run,
                **({"message_length": len(orders.reply.text)} if orders.reply else {}),
                **({"message_id": writer.message_id} if writer.message_id else {}),
                **cost(client),
            }
        )


def _store(client: ZipchatClient, tables: Warehouse, conversation_id: int) -> str:
    """Read the conversation and store it with all its messages. Returns why not, if not."""
    try:
        read = client.read_conversation(conversation_id)
        # All of it was asked for, so that its coverage is right whatever was stored before.
        work = MessageWork(conversation_id, ask_from=None, first_day="")
        with tables.transaction() as transaction:
            store.store_reads(
                transaction, [(work, read)], chat_id=client.chat_id, timezone=tables.timezone
            )
    except (ZipchatError, WarehouseError) as error:
        return _stated(error)
    return ""


def _failure_text(failure: ZipchatError | None, done: list[str], unstored: str) -> str:
    parts = [_stated(failure)] if failure else []
    if done:
        parts.append(f"{'Before that: ' if failure else ''}{' '.join(done)}")
    if done and failure:
        parts.append("That stays; re-executing this run goes on from there.")
    if unstored:
        parts.append(f"The tables do not show it, until the next sync: {unstored}")
    return " ".join(parts)


def _note_newest(context: dg.OpExecutionContext, conversation_id: int, newest: int) -> None:
    note = f"{context.run_id} {conversation_id} {newest}"
    context.instance.add_run_tags(context.run_id, {NEWEST_TAG: note})


def _noted_newest(context: dg.OpExecutionContext, orders: Orders) -> int | None:
    """The newest message before any run of this re-execution sent; None where none came that far.

    A run that was resumed, or started again by whatever restarts containers, finds its own note.
    """
    instance, root_id = context.instance, context.run.root_run_id or context.run_id
    root = instance.get_run_by_id(root_id)
    if root is None:
        raise WriteBackError(
            f"Run {root_id}, which this one re-executes, is no longer stored: nobody knows whether"
            " it sent the message. Look at the conversation, and launch a new run if it did not."
        )
    again = instance.get_runs(filters=dg.RunsFilter(tags={"dagster/root_run_id": root_id}))
    notes = {run.run_id: run.tags.get(NEWEST_TAG, "").split() for run in [root, *again]}
    # The note in a run's tags may be another run's: launching from an old run copies its tags.
    newest = [
        int(note[2])
        for run_id, note in notes.items()
        if note[:2] == [run_id, str(orders.conversation_id)]
    ]
    return min(newest, default=None)


def _job(op: dg.OpDefinition, *, description: str) -> dg.JobDefinition:
    @dg.job(
        name=f"{op.name}_job",
        executor_def=dg.in_process_executor,
        # Whatever the instance says of run retries: a failed write is for people to look at.
        tags={"dagster/max_retries": "0", "dagster/priority": URGENT},
        description=f"{description} dry_run checks everything and writes nothing.",
    )
    def job() -> None:
        op()

    return job


TEXT_IN_CONFIG: Final = (
    " The message's text stands in the run's config, which Dagster stores and shows to whoever may"
    " see its UI; it stands in no log and no metadata. It is never sent twice: re-executing a"
    " failed run sends it only if it is not there. To send the same text again, launch a new run."
)

take_over_job: Final = _job(
    take_over,
    description="Take a conversation over from the AI: manual mode, assigned to a user.",
)
hand_back_job: Final = _job(
    hand_back, description="Hand a conversation back to the AI, and unassign it."
)
send_reply_job: Final = _job(
    send_reply,
    description=(
        "Send a message to the customer of a conversation that is taken over, or with take_over"
        f" take it over first.{TEXT_IN_CONFIG}"
    ),
)
take_over_reply_hand_back_job: Final = _job(
    take_over_reply_hand_back,
    description=(
        "Take a conversation over, send its customer a message, and hand it back to the AI."
        f"{TEXT_IN_CONFIG}"
    ),
)

WRITE_BACK_JOBS: Final = [
    take_over_job,
    hand_back_job,
    send_reply_job,
    take_over_reply_hand_back_job,
]
