"""Storing records as received, together with what they cover, and reading what is stored.

Each function runs inside one `Warehouse.transaction()`, so everything done there is committed
together. SQL casts the fields leniently: a value of the wrong type becomes NULL and stays in
`payload`. A record without a usable id goes to `rejected_records`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from zipchat_dagster.client.answers import time_of
from zipchat_dagster.warehouse.plain_text import plain_text
from zipchat_dagster.warehouse.privacy import CLASSES, Kind
from zipchat_dagster.warehouse.suppression import admitted
from zipchat_dagster.warehouse.warehouse import Transaction

if TYPE_CHECKING:
    from zipchat_dagster.client import ConversationRead

Record = Mapping[str, Any]

PRIVACY = "privacy"  # the setting with the state
SETTLING = timedelta(seconds=5)  # a second that is older than this gets no further messages

encode = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)  # there can be a hundred thousand
class MessageWork:
    """A conversation whose messages are to be read, from `ask_from` on (None: all of them).

    `first_day`: the first partition that its messages may belong to, as an ISO date.
    """

    conversation_id: int
    ask_from: datetime | None
    first_day: str


@dataclass(frozen=True)
class Held:
    """What is stored of the conversations that a sync of a range of days concerns.

    Attributes:
        users: how many can be assigned now.
        pages_per_conversation: average number of requests for a stored conversation; 1 if none
            is stored.
        complete: conversations whose messages are stored up to the newest one.
        complete_counted: of these, how many the estimate also counts at the API.
        complete_surely_counted: of these, how many were last active within the range.
        work_not_counted: conversations with messages to read that it does not count there.
    """

    users: int
    pages_per_conversation: float
    complete: int
    complete_counted: int
    complete_surely_counted: int
    work_not_counted: int


@dataclass(frozen=True)
class DueState:
    """A conversation whose state must be read again, because no listing would show a change.

    `listed_with`: how many conversations a listing has to show to reach back to this one.
    """

    conversation_id: int
    last_message_at: datetime
    listed_with: int


def store_conversations(
    transaction: Transaction,
    rows: Sequence[Record],
    observed_at: Sequence[datetime],
    *,
    chat_id: int,
    is_show: bool = False,
) -> list[bool]:
    """Store observations of conversations, with the history of their state, except for those of
    people who were erased. Returns for each record whether it was stored.

    An older observation never replaces a newer one.

    Args:
        observed_at: when each record was read (aware).
        is_show: whether they come from the show endpoint, whose lead has more fields.
    """
    kept = admitted(transaction, rows, observed_at, chat_id=chat_id)
    if not any(kept):
        return kept
    batch = _batch(
        transaction, "conversation", list(compress(rows, kept)), list(compress(observed_at, kept))
    )
    batch["is_show"] = is_show
    _reject(transaction, batch, kind="conversation", chat_id=chat_id)
    transaction.execute("type_conversations", {"batch": batch}, chat_id=chat_id)
    transaction.execute("add_conversation_history")
    transaction.execute("merge_conversations")
    transaction.execute("add_changed", table="observed", chat_id=chat_id)
    return kept


def store_reads(
    transaction: Transaction,
    reads: Sequence[tuple[MessageWork, ConversationRead]],
    *,
    chat_id: int,
) -> int:
    """Store conversations with their messages, and note what is covered, except for those of people
    who were erased. Returns how many messages there were."""
    kept = store_conversations(
        transaction,
        [read.conversation for _, read in reads],
        [read.observed_at for _, read in reads],
        chat_id=chat_id,
        is_show=True,
    )
    reads = list(compress(reads, kept))
    messages = [
        (message, work.conversation_id, read.observed_at)
        for work, read in reads
        for message in read.messages
    ]
    if messages:
        records, conversation_ids, observed = zip(*messages, strict=True)
        batch = _batch(transaction, "message", records, observed)
        batch["conversation_id"] = pd.Series(conversation_ids, dtype="int64")
        _reject(transaction, batch, kind="message", chat_id=chat_id)
        transaction.execute("merge_messages", {"batch": batch}, chat_id=chat_id)
    covered = [
        (
            work,
            read.observed_at,
            _text(read.conversation.get("last_message_at")),
            # The count is of the whole conversation only if all of it was asked for.
            None if work.ask_from else read.stated_messages,
            None,
        )
        for work, read in reads
    ]
    _record_coverage(transaction, covered, chat_id=chat_id)
    return len(messages)


def store_failures(
    transaction: Transaction,
    failures: Sequence[tuple[MessageWork, str]],
    at: datetime,
    *,
    chat_id: int,
) -> None:
    """Note conversations whose messages could not be read, and why, without customers' data.
    Nothing of them becomes covered."""
    kept = admitted(
        transaction,
        [{"id": work.conversation_id} for work, _ in failures],
        [at] * len(failures),
        chat_id=chat_id,
    )
    covered = [(work, at, None, None, reason) for work, reason in compress(failures, kept)]
    _record_coverage(transaction, covered, chat_id=chat_id)


def store_users(
    transaction: Transaction, rows: Sequence[Record], observed_at: datetime, *, chat_id: int
) -> None:
    """Store the complete list of users. A stored user who is not on it is no longer current."""
    batch = _batch(transaction, "user", rows, [observed_at] * len(rows))
    _reject(transaction, batch, kind="user", chat_id=chat_id)
    transaction.execute("merge_users", {"batch": batch}, chat_id=chat_id)
    transaction.execute("retire_users", chat_id=chat_id, as_of=observed_at)


def store_chats(
    transaction: Transaction, names: Mapping[int, str], *, now: datetime, is_complete: bool
) -> list[tuple[int, str]]:
    """Store the names of chats, by id. If the list is complete, a stored chat that is not on it is
    no longer current. Returns those, as (id, name)."""
    listed = {"listed": pd.DataFrame({"chat_id": list(names), "name": list(names.values())})}
    transaction.execute("merge_chats", listed, now=now)
    if not is_complete:
        return []
    removed = transaction.execute("removed_chats", listed)
    if removed:
        transaction.execute("retire_chats", listed, now=now)
    return [(chat_id, name) for chat_id, name in removed]


def unlisted(
    transaction: Transaction,
    listed_ids: Iterable[int],
    *,
    chat_id: int,
    since: datetime,
    as_of: datetime,
) -> list[int]:
    """The stored conversations that a complete listing of [since, as_of] should have shown and
    did not, newest activity first.

    They were deleted, or their newest message was, which moves their activity back.
    """
    found = transaction.execute(
        "unlisted", {"listed": ids(listed_ids)}, chat_id=chat_id, since=since, as_of=as_of
    )
    return [row[0] for row in found]


def record_listing(
    transaction: Transaction,
    *,
    chat_id: int,
    since: datetime,
    as_of: datetime,
    listed: int,
    stated_total: int | None,
) -> None:
    """Record that everything active in [since, as_of] is stored.

    Args:
        listed: how many distinct conversations the listing showed.
        stated_total: how many there are according to the API, if it says so.
    """
    transaction.execute(
        "record_listing",
        chat_id=chat_id,
        since=since,
        as_of=as_of,
        stated_total=stated_total,
        listed_total=listed,
    )


def mark_not_found(
    transaction: Transaction, conversation_ids: Sequence[int], at: datetime, *, chat_id: int
) -> None:
    """Mark conversations that the API no longer has as missing. Their rows stay."""
    if conversation_ids:
        gone = {"gone": ids(conversation_ids).assign(observed_at=at)}
        transaction.execute("mark_not_found", gone, chat_id=chat_id, at=at)
        transaction.execute("add_missing_history", gone, chat_id=chat_id, at=at)
        transaction.execute("add_changed", gone, table="gone", chat_id=chat_id)


def message_work(
    transaction: Transaction,
    *,
    chat_id: int,
    since: datetime,
    until: datetime,
    refresh: bool = False,
    most_retried: int = 0,
) -> list[MessageWork]:
    """The conversations that may have messages in [since, until) which are not stored.

    Args:
        refresh: whether to read again what is stored already.
        most_retried: how many conversations of other days to retry that could not be read before.
    """
    frame = transaction.query(
        "message_work",
        chat_id=chat_id,
        since=since,
        until=until,
        refresh=refresh,
        most_retried=most_retried,
    )
    asked = frame["ask_from"].astype(object).where(frame["ask_from"].notna(), None)
    days = pd.to_datetime(frame["first_day"]).dt.strftime("%Y-%m-%d")
    return [
        MessageWork(int(i), None if at is None else at.to_pydatetime(), day)
        for i, at, day in zip(frame["conversation_id"], asked, days, strict=True)
    ]


def held(
    transaction: Transaction,
    work: Sequence[MessageWork],
    *,
    chat_id: int,
    since: datetime,
    until: datetime,
    list_since: datetime,
    reach: datetime,
    page_size: int,
) -> Held:
    """What is stored of what a sync of [since, until) concerns.

    Args:
        work: the result of `message_work` for the same range.
        list_since, reach: the estimate counts conversations last active in [list_since, reach).
        page_size: the most messages that one answer holds.
    """
    ((users, pages, *counts),) = transaction.execute(
        "held",
        {"work": ids(item.conversation_id for item in work)},
        chat_id=chat_id,
        since=since,
        until=until,
        list_since=list_since,
        reach=reach,
        page_size=page_size,
    )
    return Held(users, float(pages), *counts)


def due_states(transaction: Transaction, *, chat_id: int, now: datetime) -> list[DueState]:
    """Open escalations and conversations in manual mode to read again, most urgent first."""
    frame = transaction.query("due_states", chat_id=chat_id, now=now)
    return [
        DueState(int(i), at.to_pydatetime(), int(listed_with))
        for i, at, listed_with in frame.itertuples(index=False)
    ]


def newest_read(transaction: Transaction, *, chat_id: int) -> int | None:
    """The conversation whose messages were last read without a failure, or None."""
    found = transaction.execute("newest_read", chat_id=chat_id)
    return found[0][0] if found else None


def listing_coverage(transaction: Transaction, *, chat_id: int) -> tuple[datetime, datetime] | None:
    """(since, as_of): everything active in between is stored. None before the first listing."""
    frame = transaction.query("listing_coverage", chat_id=chat_id)
    if frame.empty:
        return None
    return frame["since"][0].to_pydatetime(), frame["as_of"][0].to_pydatetime()


def privacy_state(transaction: Transaction) -> dict[str, Any]:
    """The loosest mode of each class of personal data in which values may be stored, and under
    `rewriting`, how far they have been rewritten to it, unless all are."""
    rows = transaction.execute("stored_setting", name=PRIVACY)
    return json.loads(rows[0][0]) if rows else dict.fromkeys(CLASSES, "keep")


def set_privacy_state(transaction: Transaction, state: Mapping[str, Any]) -> None:
    """Store what `privacy_state` returns."""
    transaction.execute("store_setting", name=PRIVACY, value=json.dumps(state))


def ids(conversation_ids: Iterable[int]) -> pd.DataFrame:
    """A frame of ids, which a statement can join as a table."""
    return pd.DataFrame({"conversation_id": pd.Series(list(conversation_ids), dtype="int64")})


def _record_coverage(
    transaction: Transaction,
    rows: Sequence[tuple[MessageWork, datetime, str | None, int | None, str | None]],
    *,
    chat_id: int,
) -> None:
    """Note what was read and when, the newest activity and the number of messages that the API
    stated, and why it failed if it did."""
    if not rows:
        return
    work, observed_at, newest, stated_messages, failure = zip(*rows, strict=True)
    covered = pd.DataFrame(
        {
            "conversation_id": pd.array([item.conversation_id for item in work], dtype="int64"),
            "ask_from": _times_column([item.ask_from for item in work]),
            "newest": pd.array(newest, dtype="str"),
            "stated_messages": pd.array(stated_messages, dtype="Int64"),
            "observed_at": _times_column(observed_at),
            "failure": pd.array(failure, dtype="str"),
        }
    )
    transaction.execute(
        "merge_message_coverage", {"covered": covered}, chat_id=chat_id, settling=SETTLING
    )


def _reject(transaction: Transaction, batch: pd.DataFrame, *, kind: str, chat_id: int) -> None:
    """Keep records without a usable id apart. What is merged leaves them out."""
    rejected = batch[batch["id"].isna()]
    if len(rejected):
        if "conversation_id" not in rejected:
            rejected = rejected.assign(conversation_id=pd.Series(dtype="Int64"))
        transaction.execute("add_rejected_records", {"batch": rejected}, chat_id=chat_id, kind=kind)


def _batch(
    transaction: Transaction,
    kind: Kind,
    rows: Sequence[Record],
    observed_at: Sequence[datetime],
) -> pd.DataFrame:
    """Records as they may be stored, as a frame: id (NULL if there is no usable one), payload (JSON
    text), observed_at, position, and of messages message_text and redacted_at.

    The only way for records into the database: nothing else of them may be given to it.
    """
    _note_privacy(transaction)
    privacy = transaction.privacy
    is_old = [
        kind == "message" and privacy.is_too_old(time_of(row.get("created_at")) or at, at)
        for row, at in zip(rows, observed_at, strict=True)
    ]
    masked = [
        (privacy.without_texts if old else privacy).mask(kind, row)
        for row, old in zip(rows, is_old, strict=True)
    ]
    batch = pd.DataFrame(
        {
            "id": pd.array([_id(row) for row in masked], dtype="Int64"),
            "payload": pd.array([encode(row) for row in masked], dtype="str"),
            "observed_at": _times_column(observed_at),
            "position": range(len(masked)),
        }
    )
    if kind == "message":
        texts = [storable(plain_text(row.get("message"))) for row in masked]
        batch["message_text"] = pd.Series(texts, dtype="str")
        redacted = [at if old else None for at, old in zip(observed_at, is_old, strict=True)]
        batch["redacted_at"] = _times_column(redacted)
    return batch


def _note_privacy(transaction: Transaction) -> None:
    """Note it if records are stored under looser settings than those before, such as by a run that
    began before the settings were changed. The next run with stricter ones then rewrites them."""
    state = privacy_state(transaction)
    if looser := transaction.privacy.modes_other_than(state, "looser"):
        set_privacy_state(transaction, {**state, **looser})


def _times_column(values: Sequence[datetime | None]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(list(values), dtype="datetime64[us, UTC]")


def _id(row: Record) -> int | None:
    """The id, if it is one. The client has turned strings of digits into numbers."""
    value = row.get("id")
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def storable(text: str | None) -> str | None:
    """A text block's own JSON can hold half a surrogate pair, which no database accepts."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
