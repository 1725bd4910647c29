"""From the API into the warehouse: ask only for what coverage lacks, store in short transactions.

Dagster-free: the assets give these functions a client, a warehouse and a window, and turn their
results into metadata. All times are aware; windows are half-open.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from zipchat_dagster.client import (
    LARGEST_PAGE,
    CallError,
    ConversationRead,
    IncompleteError,
    ListingUnsettledError,
    NotFoundError,
    PageLoopError,
    RateLimitedError,
    UnauthorizedError,
    ZipchatClient,
    ZipchatError,
    requests_to_list,
)
from zipchat_dagster.client.listing import MARGIN
from zipchat_dagster.warehouse import Warehouse, store
from zipchat_dagster.warehouse.store import DueState, Failure, MessageWork

Log = logging.Logger

PROGRESS_EVERY: Final = 30.0  # seconds between two lines of progress
HOPELESS_AFTER: Final = 20  # conversations that fail in a row, before the API counts as down
NAMED_AT_MOST: Final = 20  # conversations that an error names; the table has them all


class SyncIncompleteError(ZipchatError):
    """Some conversations could not be read. The others are stored; these are tried again.

    `is_down` is True when so many failed in a row that the rest was not tried.
    """

    def __init__(self, message: str, *, is_down: bool) -> None:
        super().__init__(message)
        self.is_down = is_down


@dataclass(frozen=True)
class ListingResult:
    """What a listing brought: distinct conversations, those found missing, how far it reached."""

    since: datetime
    as_of: datetime
    conversations: int
    missing: list[int]
    states_asked: int = 0  # conversations asked about singly, because nothing else tells
    requests_for_states: int = 0


@dataclass
class MessageResult:
    """What reading messages brought; failures by conversation id."""

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
) -> ListingResult:
    """Store every conversation active at or after `since`; list only what coverage lacks.

    Args:
        most_states: how many requests may go into asking again about open escalations and
            conversations in manual mode, whose end shows in no listing (0: none).

    Raises:
        ListingUnsettledError: the list kept moving. What came is stored, nothing counts as
            covered.
    """
    chat_id = client.chat_id
    with warehouse.transaction() as transaction:
        coverage = store.listing_coverage(transaction, chat_id=chat_id)
        due = (
            store.due_states(transaction, chat_id=chat_id, now=client.server_time())
            if most_states
            else []
        )
    list_since = since
    if coverage and coverage[0] <= since:
        goes_on_at = coverage[1] - MARGIN
        list_since = min(since, goes_on_at) if refresh else goes_on_at
    list_since, most_singly = reach_back(list_since, due, most_states)
    log.info(f"Listing conversations active since {list_since:%Y-%m-%d %H:%M:%S %Z}.")
    listing = client.list_conversations(since=list_since)
    progress = Progress(client, log, "conversations listed")
    with warehouse.small_transactions():
        for rows, observed_at in listing:
            with warehouse.transaction() as transaction:
                store.store_conversations(
                    transaction, rows, observed_at, chat_id=chat_id, timezone=warehouse.timezone
                )
            progress.tell(len(listing.seen), total=listing.total)
    if listing.as_of is None:
        raise ListingUnsettledError("the listing did not end")
    with warehouse.transaction() as transaction:
        missing = store.record_listing(
            transaction,
            chat_id=chat_id,
            since=list_since,
            as_of=listing.as_of,
            listed_ids=listing.seen,
            stated_total=listing.total,
        )
    if missing:
        log.warning(f"{len(missing)} conversations are no longer listed: {named(missing)}.")
    requests = client.requests
    unseen = [state.conversation_id for state in due if state.conversation_id not in listing.seen]
    gone = set(missing)
    asked = [i for i in unseen if i not in gone][:most_singly]
    missing += ask_states(client, warehouse, asked, log=log)
    return ListingResult(
        list_since,
        listing.as_of,
        len(listing.seen),
        missing,
        states_asked=len(asked),
        requests_for_states=client.requests - requests,
    )


def reach_back(since: datetime, due: Sequence[DueState], most: int) -> tuple[datetime, int]:
    """How far back to list so that the states of `due` (most urgent first) cost the fewest
    requests. Returns that time and how many may be asked for singly besides.

    A page of the list shows the states of up to a hundred conversations; asking singly costs one
    request each. Listing further back shows all that asking singly would, and as many more as
    `most` requests can.
    """
    outside = [state for state in due if state.last_message_at < since]
    urgent = {state.conversation_id for state in outside[:most]}
    best, left = since, most
    seen = cost = len(urgent)
    by_age = sorted(outside, key=lambda state: state.last_message_at, reverse=True)
    for listed, state in enumerate(by_age, start=1):
        urgent.discard(state.conversation_id)
        pages = further_pages(state.listed_with)
        if pages > most:
            break  # further back it only takes more
        if pages + len(urgent) > most:
            continue
        singly = min(len(outside) - listed, most - pages)
        if (listed + singly, -pages - singly) > (seen, -cost):
            best, left = state.last_message_at, most - pages
            seen, cost = listed + singly, pages + singly
    return best, left


def further_pages(conversations: int) -> int:
    """How many requests more than one it takes to list so many."""
    return requests_to_list(conversations, largest=LARGEST_PAGE) - 1


def ask_states(
    client: ZipchatClient, warehouse: Warehouse, conversation_ids: Sequence[int], *, log: Log
) -> list[int]:
    """Ask for the state of each conversation and store it. Returns those that are gone.

    One that cannot be read is only said: its messages are not concerned, and the next run asks
    again.
    """
    chat_id = client.chat_id
    missing: list[int] = []
    at = client.server_time()
    for batch in client.gather(lambda i: client.read_conversation(i, since=at), conversation_ids):
        reads = [read for _, read in batch if isinstance(read, ConversationRead)]
        gone = [i for i, read in batch if isinstance(read, NotFoundError)]
        for i, error in batch:
            match error:
                case ConversationRead() | NotFoundError():
                    pass
                case UnauthorizedError() | RateLimitedError():
                    raise error
                case CallError() | IncompleteError() | PageLoopError():
                    log.warning(f"The state of conversation {i} could not be read: {error}")
                case _:
                    raise error
        with warehouse.transaction() as transaction:
            if reads:
                store.store_conversations(
                    transaction,
                    [read.conversation for read in reads],
                    [read.observed_at for read in reads],
                    chat_id=chat_id,
                    timezone=warehouse.timezone,
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
    on_day: Callable[[str], None] = lambda day: None,
) -> MessageResult:
    """Store every message in [since, until) of the conversations that are stored.

    Args:
        days: the partitions of the window in order, as ISO dates.
        on_day: called with each of them as soon as all its messages are committed.

    Raises:
        SyncIncompleteError: after everything else is stored, naming what could not be read.
    """
    chat_id = client.chat_id
    with warehouse.transaction() as transaction:
        work = store.message_work(
            transaction,
            chat_id=chat_id,
            since=since,
            until=until,
            timezone=warehouse.timezone,
            refresh=refresh,
        )
    log.info(f"{len(work):,} conversations have messages that are not stored yet.")
    result = MessageResult()
    calendar = _Calendar(days, work, on_day)
    progress = Progress(client, log, "conversations read")
    failed_in_a_row = 0
    with warehouse.small_transactions():
        for batch in client.gather(
            lambda item: client.read_conversation(item.conversation_id, since=item.ask_from), work
        ):
            reads, failures, gone = _sorted_out(batch)
            at = client.server_time()
            with warehouse.transaction() as transaction:
                result.messages += store.store_reads(
                    transaction, reads, chat_id=chat_id, timezone=warehouse.timezone
                )
                store.store_failures(
                    transaction,
                    [(item, Failure(reason, at)) for item, reason in failures],
                    chat_id=chat_id,
                )
                store.mark_not_found(transaction, gone, at, chat_id=chat_id)
            result.conversations += len(reads)
            result.missing += gone
            result.failures |= {item.conversation_id: reason for item, reason in failures}
            failed_in_a_row = 0 if reads or gone else failed_in_a_row + len(failures)
            if failed_in_a_row >= HOPELESS_AFTER:
                break
            calendar.done([item for item, _ in batch], {item.first_day for item, _ in failures})
            progress.tell(result.conversations + len(result.failures), total=len(work))
    if result.failures:
        is_down = failed_in_a_row >= HOPELESS_AFTER
        raise SyncIncompleteError(_failure_text(result, is_down=is_down), is_down=is_down)
    calendar.close()
    return result


def named(ids: Sequence[int]) -> str:
    """The ids for a message, cut to a readable number."""
    more = f" and {len(ids) - NAMED_AT_MOST:,} more" if len(ids) > NAMED_AT_MOST else ""
    return ", ".join(map(str, ids[:NAMED_AT_MOST])) + more


class Progress:
    """Tells how far a long fetch is, at a human pace: done, requests, rate, time to go."""

    def __init__(self, client: ZipchatClient, log: Log, what: str) -> None:
        self._client = client
        self._log = log
        self._what = what
        self._began_at = self._told_at = client.clock.time()
        self._requests = client.requests

    def tell(self, done: int, *, total: int | None) -> None:
        """Log a line if the last one is long enough ago."""
        now = self._client.clock.time()
        if now - self._told_at < PROGRESS_EVERY or not done:
            return
        self._told_at = now
        elapsed = now - self._began_at
        requests = self._client.requests - self._requests
        of = f" of {total:,}" if total else ""
        to_go = f", about {duration((total - done) * elapsed / done)} to go" if total else ""
        self._log.info(
            f"{done:,}{of} {self._what}, {requests:,} requests ({requests * 60 / elapsed:.0f} a"
            f" minute){to_go}."
        )


def duration(seconds: float) -> str:
    """`95 s`, `12 min`, `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _Calendar:
    """Calls `on_day` for each day, in order, once nothing of it or before it is outstanding."""

    def __init__(
        self, days: Sequence[str], work: Sequence[MessageWork], on_day: Callable[[str], None]
    ) -> None:
        self._days = list(days)
        self._outstanding = Counter(item.first_day for item in work)
        self._on_day = on_day

    def done(self, items: Sequence[MessageWork], failed_days: set[str]) -> None:
        # A day whose conversation failed stays outstanding, and so do the days after it, in which
        # that conversation may have messages too.
        self._outstanding.subtract(item.first_day for item in items)
        self._outstanding.update(failed_days)
        while self._days and not self._outstanding[self._days[0]]:
            self._on_day(self._days.pop(0))

    def close(self) -> None:
        """Everything was read: report the days that are left."""
        for day in self._days:
            self._on_day(day)


def _sorted_out(
    batch: Sequence[tuple[MessageWork, ConversationRead | Exception]],
) -> tuple[list[tuple[MessageWork, ConversationRead]], list[tuple[MessageWork, str]], list[int]]:
    """(read, failed with the reason, not found); raises what concerns all conversations."""
    reads, failures, gone = [], [], []
    for item, outcome in batch:
        match outcome:
            case ConversationRead():
                reads.append((item, outcome))
            case NotFoundError():
                gone.append(item.conversation_id)
            case UnauthorizedError() | RateLimitedError():
                raise outcome
            case CallError() | IncompleteError() | PageLoopError():
                failures.append((item, str(outcome)))
            case _:
                raise outcome
    return reads, failures, gone


def _failure_text(result: MessageResult, *, is_down: bool) -> str:
    reasons = list(result.failures.values())
    listed = "\n".join(f"- {reason}" for reason in reasons[:NAMED_AT_MOST])
    more = len(reasons) - NAMED_AT_MOST
    given_up = f" The last {HOPELESS_AFTER} in a row failed, so the rest was not tried."
    return (
        f"{len(reasons):,} conversations could not be read ({named(list(result.failures))});"
        f" {result.conversations:,} were. What was read is stored; these are tried again by the"
        f" next run.{given_up if is_down else ''}\n{listed}"
        + (f"\n… and {more:,} more, in zipchat.message_coverage.failure" if more > 0 else "")
    )
