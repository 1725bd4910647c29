"""From the API to the warehouse: read only what is not covered, store it in short transactions.

No Dagster here. The assets pass in a client, a warehouse and a range, and turn the results into
metadata. All times are aware, and ranges are half-open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from zipchat_dagster.client import (
    CallError,
    ConversationRead,
    ListingUnsettledError,
    NotFoundError,
    PageLoopError,
    RateLimitedError,
    UnauthorizedError,
    ZipchatClient,
    ZipchatError,
)
from zipchat_dagster.client.answers import Json
from zipchat_dagster.client.listing import MARGIN, Listing
from zipchat_dagster.progress import Calendar, Progress, named
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.store import MessageWork

T = TypeVar("T")
Log = logging.Logger
Batch = Sequence[tuple[MessageWork, ConversationRead | Exception]]

HOPELESS_AFTER: Final = 20  # failures in a row, after which the API itself is tried
LISTING_BATCH: Final = 1_000  # conversations stored at once
MOST_UNLISTED: Final = 100  # conversations missing from a listing that one run looks up
ON_ONE_PAGE: Final = 80  # conversations listed for one request, with room for new activity


class ApiDownError(ZipchatError):
    """Conversations can no longer be read. Everything read so far is stored."""


@dataclass(frozen=True)
class ListingResult:
    """The result of listing conversations.

    Attributes:
        since, as_of: every conversation active in between was listed.
        conversations: how many were listed.
        missing: ids of those that the API no longer has.
        states_read: how many were re-read one by one, because no listing shows their current state.
        requests_for_states: the requests that this took.
    """

    since: datetime
    as_of: datetime
    conversations: int
    missing: list[int]
    states_read: int
    requests_for_states: int


@dataclass
class MessageResult:
    """The result of reading messages; `failures` maps a conversation's id to the reason."""

    conversations: int = 0
    messages: int = 0
    missing: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)


def sync_users(client: ZipchatClient, warehouse: Warehouse) -> int:
    """Store the whole list of users. Returns how many there are."""
    listing = client.list_users()
    rows = [row for page, _ in listing for row in page]
    assert listing.as_of is not None  # the iteration has ended
    with warehouse.transaction() as transaction:
        store.store_users(transaction, rows, listing.as_of, chat_id=client.chat_id)
    return len(listing.seen)


def sync_conversations(
    client: ZipchatClient,
    warehouse: Warehouse,
    *,
    since: datetime,
    refresh: bool,
    log: Log,
    most_states: int = 0,
    relist_since: datetime | None = None,
) -> ListingResult:
    """Store every conversation active at or after `since`, listing only what is not covered.

    Args:
        refresh: list from `since` on even if that is covered.
        most_states: the most requests to spend on re-reading open escalations and conversations in
            manual mode, since no listing shows when these end (0: none).
        relist_since: list from here on even if that is covered. An escalation is not activity, so
            one that no message follows is found only by listing again.

    Raises:
        ListingUnsettledError: the list kept changing. Its rows are stored, but not as covered.
    """
    with warehouse.transaction() as transaction:
        coverage = store.listing_coverage(transaction, chat_id=client.chat_id)
        due = (
            store.due_states(transaction, chat_id=client.chat_id, now=client.server_time())
            if most_states
            else []
        )
    list_since = since
    if coverage and coverage[0] <= since:
        # Never later than the end of what is covered, or the days in between would be lost.
        starts = [coverage[1] - MARGIN, since if refresh else None, relist_since]
        list_since = min(filter(None, starts))
    # The first page costs a request in any case.
    on_the_page = [s.last_message_at for s in due if s.listed_with <= ON_ONE_PAGE]
    list_since = min([list_since, *on_the_page])
    listing = _list(client, warehouse, since=list_since, log=log)
    assert listing.as_of is not None  # the iteration has ended
    missing = _settle_listing(client, warehouse, listing, since=list_since, log=log)
    requests = client.requests
    known = listing.seen.keys() | set(missing)
    unseen = [s.conversation_id for s in due if s.conversation_id not in known][:most_states]
    missing += read_states(client, warehouse, unseen, log=log)
    return ListingResult(
        list_since,
        listing.as_of,
        len(_ids(listing)),
        missing,
        states_read=len(unseen),
        requests_for_states=client.requests - requests,
    )


def _list(client: ZipchatClient, warehouse: Warehouse, *, since: datetime, log: Log) -> Listing:
    """Store everything active at or after `since`. Returns the finished listing."""
    log.info(f"Listing conversations active since {since:%Y-%m-%d %H:%M:%S %Z}.")
    listing = client.list_conversations(since=since)
    progress = Progress(client, log, "Conversations listed")
    with warehouse.small_transactions():
        for rows, times in _in_batches(listing):
            with warehouse.transaction() as transaction:
                store.store_conversations(transaction, rows, times, chat_id=client.chat_id)
            progress.report(len(listing.seen), total=listing.total)
    return listing


def _in_batches(listing: Listing) -> Iterator[tuple[list[Json], list[datetime]]]:
    """The rows of a listing and when each was read, in batches worth a transaction, including those
    before an error. A row that has changed since it was read starts a new batch, so that the
    history gets both states.
    """
    batch: dict[str, tuple[Json, datetime]] = {}
    failure = None
    try:
        for page, observed_at in listing:
            for row in page:
                name = repr(row.get("id"))
                has_changed = name in batch and batch[name][0] != row
                if has_changed or len(batch) >= LISTING_BATCH:
                    yield [row for row, _ in batch.values()], [at for _, at in batch.values()]
                    batch = {}
                batch[name] = row, observed_at
    except ZipchatError as error:
        failure = error
    if batch:
        yield [row for row, _ in batch.values()], [at for _, at in batch.values()]
    if failure:
        raise failure


def _ids(listing: Listing) -> set[int]:
    """The conversations that a listing has shown, without records that have no usable id."""
    return {i for i in listing.seen if isinstance(i, int)}


def _settle_listing(
    client: ZipchatClient,
    warehouse: Warehouse,
    listing: Listing,
    *,
    since: datetime,
    log: Log,
) -> list[int]:
    """Look up the conversations that are absent from a finished listing but should be in it, and
    record the listing as covered. Returns those that are gone.

    A conversation whose newest message was deleted is not gone: its activity is now before
    `since`. After a bulk deletion, the rest is left to the next run, which lists from the same
    time on.
    """
    chat_id, as_of, listed = client.chat_id, listing.as_of, _ids(listing)
    assert as_of is not None  # the iteration has ended
    with warehouse.transaction() as transaction:
        unlisted = store.unlisted(transaction, listed, chat_id=chat_id, since=since, as_of=as_of)
    asked = unlisted[:MOST_UNLISTED]
    missing = read_states(client, warehouse, asked, log=log)
    if missing:
        log.warning(f"Conversations that are gone: {len(missing):,} ({named(missing)}).")
    if len(unlisted) > len(asked):
        log.warning(
            f"Conversations that were not listed: {len(unlisted):,}, of which {len(asked)} were"
            " looked up. The next run looks up more."
        )
        return missing
    with warehouse.transaction() as transaction:
        store.record_listing(
            transaction,
            chat_id=chat_id,
            since=since,
            as_of=as_of,
            listed=len(listed),
            stated_total=listing.total,
        )
    return missing


def read_states(
    client: ZipchatClient, warehouse: Warehouse, conversation_ids: Sequence[int], *, log: Log
) -> list[int]:
    """Read each conversation without its messages and store its state. Returns those that are
    gone.

    A conversation that cannot be read is only logged. It is tried again when its state is due, or
    when another listing should have shown it.
    """
    chat_id = client.chat_id
    missing: list[int] = []
    at = client.server_time()
    for batch in client.gather(lambda i: client.read_conversation(i, since=at), conversation_ids):
        reads, failures, gone = _sorted_out(batch)
        for i, error in failures:
            log.warning(f"The state of conversation {i} could not be read: {error}")
        with warehouse.transaction() as transaction:
            if reads:
                store.store_conversations(
                    transaction,
                    [read.conversation for _, read in reads],
                    [read.observed_at for _, read in reads],
                    chat_id=chat_id,
                    is_show=True,
                )
            store.mark_not_found(transaction, gone, client.server_time(), chat_id=chat_id)
        missing += gone
    return missing


def sync_messages(
    client: ZipchatClient,
    warehouse: Warehouse,
    *,
    since: datetime,
    until: datetime,
    days: Sequence[str],
    refresh: bool,
    log: Log,
    most_retried: int = 0,
    on_day: Callable[[str], None] = lambda day: None,
) -> MessageResult:
    """Store every message in [since, until) of the conversations that are stored.

    A conversation that cannot be read is recorded and skipped. The next run tries again.

    Args:
        days: the partitions of the window in order, as ISO dates.
        most_retried: how many conversations of other days to retry that could not be read before.
        on_day: called with each day as soon as all its messages that can be read are committed.

    Raises:
        ApiDownError: nothing can be read any more. Everything read so far is stored.
    """
    with warehouse.transaction() as transaction:
        work = store.message_work(
            transaction,
            chat_id=client.chat_id,
            since=since,
            until=until,
            refresh=refresh,
            most_retried=most_retried,
        )
        readable = store.newest_read(transaction, chat_id=client.chat_id)
    log.info(f"Conversations with messages that are not stored yet: {len(work):,}.")
    result = MessageResult()
    calendar = Calendar(days, [item.first_day for item in work], on_day)
    progress = Progress(client, log, "Conversations read")
    health = _Health(client, readable)
    with warehouse.small_transactions():
        for batch in client.gather(
            lambda item: client.read_conversation(item.conversation_id, since=item.ask_from), work
        ):
            _store_batch(client, warehouse, batch, result)
            health.check(batch)
            calendar.done([item.first_day for item, _ in batch])
            progress.report(result.conversations + len(result.failures), total=len(work))
    if result.failures:
        health.check_at_the_end()
        log.warning(
            f"Conversations that could not be read: {len(result.failures):,}"
            f" ({named(list(result.failures))}). The next run tries again; the reasons are in"
            " zipchat.message_coverage.failure."
        )
    return result


def _store_batch(
    client: ZipchatClient, warehouse: Warehouse, batch: Batch, result: MessageResult
) -> None:
    """Store a batch in one transaction and add it to `result`."""
    reads, failures, not_found = _sorted_out(batch)
    gone = [item.conversation_id for item in not_found]
    at = client.server_time()
    with warehouse.transaction() as transaction:
        result.messages += store.store_reads(transaction, reads, chat_id=client.chat_id)
        reasons = [(item, str(error)) for item, error in failures]
        store.store_failures(transaction, reasons, at, chat_id=client.chat_id)
        store.mark_not_found(transaction, gone, at, chat_id=client.chat_id)
    result.conversations += len(reads)
    result.missing += gone
    result.failures |= {item.conversation_id: str(error) for item, error in failures}


class _Health:
    """Distinguishes broken conversations from an API that is down.

    After many failures in a row, and when nothing at all could be read, it reads a conversation
    that was readable before. If even that fails, the API is down.
    """

    def __init__(self, client: ZipchatClient, readable: int | None) -> None:
        self._client = client
        self._readable = readable
        self._has_read = False
        self._failed_in_a_row = 0

    def check(self, batch: Batch) -> None:
        """Take in a batch.

        Raises:
            ApiDownError: the API is down.
        """
        for item, outcome in batch:
            if isinstance(outcome, ConversationRead):
                self._readable, self._has_read = item.conversation_id, True
                self._failed_in_a_row = 0
            elif not isinstance(outcome, NotFoundError):
                self._failed_in_a_row += 1
        if self._failed_in_a_row >= HOPELESS_AFTER:
            if self._readable is None:
                raise ApiDownError(f"{self._text()} None was ever read.")
            self._try_readable()
            self._failed_in_a_row = 0

    def check_at_the_end(self) -> None:
        """Raises like `check` if nothing could be read because the API is down."""
        if not self._has_read and self._readable is not None:
            self._try_readable()

    def _try_readable(self) -> None:
        assert self._readable is not None
        try:
            self._client.read_conversation(self._readable, since=self._client.server_time())
        except NotFoundError:
            pass  # it was deleted meanwhile; the API answers
        except ZipchatError as error:
            raise ApiDownError(
                f"{self._text()} Nor can conversation {self._readable}, which was read before:"
                f" {error}"
            ) from None

    def _text(self) -> str:
        return f"Conversations cannot be read (failures in a row: {self._failed_in_a_row})."


def _sorted_out(
    batch: Sequence[tuple[T, ConversationRead | Exception]],
) -> tuple[list[tuple[T, ConversationRead]], list[tuple[T, ZipchatError]], list[T]]:
    """(read, failed, not found). Raises errors that concern all conversations."""
    reads, not_found = [], []
    failures: list[tuple[T, ZipchatError]] = []
    for item, outcome in batch:
        match outcome:
            case ConversationRead():
                reads.append((item, outcome))
            case NotFoundError():
                not_found.append(item)
            case UnauthorizedError() | RateLimitedError():
                raise outcome
            case CallError() | ListingUnsettledError() | PageLoopError():
                failures.append((item, outcome))
            case _:
                raise outcome
    return reads, failures, not_found
