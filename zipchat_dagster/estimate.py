"""Estimates the cost of a backfill in requests and hours before it starts.

Stored conversations cost nothing. The API tells how many others there are: those active since the
start of the range and, if it ends in the past, since its end. If the API states a total, each count
takes one request. Otherwise the end of the list is searched for, which takes about a dozen.

Two things cannot be known in advance:

- which conversations began before the end of the range and continued after it. Those last active on
  the day after it only count in the upper bound. Those last active later are assumed to have begun
  after it, except for stored ones;
- how many conversations have over 200 messages, which take more than one request to read. Their
  share among the stored conversations is used for all.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final

from zipchat_dagster.client import (
    LARGEST_MESSAGE_PAGE,
    LARGEST_PAGE,
    Page,
    PageLoopError,
    ZipchatClient,
    requests_to_list,
)
from zipchat_dagster.progress import duration
from zipchat_dagster.warehouse import Warehouse, store

MOST_PAGES: Final = 1_000_000  # of a list that ends
CHECK_REQUESTS: Final = 1  # the check newest_activity_is_stored, at the end of a run
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Range:
    """At least `low` and at most `high`."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Estimate:
    """The cost of materializing every asset for a range of days.

    Attributes:
        to_list: conversations that the run will list.
        to_read: conversations whose messages it will read.
        complete: conversations of the range that are stored with all their messages; they are free.
        pages_per_conversation: average requests to read one of `to_read`.
        requests: all requests of the run.
        fastest_seconds: the time they take if the run can spend the whole rate limit.
        slowest_seconds: the time they take if other runs spend all of the reserve.
        limit, window_seconds: the rate limit, `limit` requests in `window_seconds`.
        held_back: requests of each window that the run leaves to others.
        requests_spent: requests that this estimate took.
    """

    to_list: int
    to_read: Range
    complete: int
    pages_per_conversation: float
    requests: Range
    fastest_seconds: float
    slowest_seconds: float
    limit: int
    window_seconds: float
    held_back: int
    requests_spent: int

    def __str__(self) -> str:
        """The figures in six lines."""
        about = "about " if self.requests.low == self.requests.high else ""
        pages = f", {self.pages_per_conversation:.2f} requests each"
        held = f", {self.held_back:,} of them left to live runs" if self.held_back else ""
        return "\n".join(
            [
                f"{about}{self.requests} requests, {self._time()}",
                f"  conversations to list      {self.to_list:,}",
                f"  conversations to read      {self.to_read}"
                + (pages if self.pages_per_conversation > 1.005 else ""),
                f"  stored completely already  {self.complete:,}",
                f"  rate limit                 {self.limit:,} requests in"
                f" {self.window_seconds:.0f} s{held}",
                f"  spent on this estimate     {self.requests_spent}",
            ]
        )

    def _time(self) -> str:
        fastest, slowest = duration(self.fastest_seconds), duration(self.slowest_seconds)
        if not self.fastest_seconds:
            return f"{slowest} at most"
        return f"about {fastest}" if fastest == slowest else f"{fastest} to {slowest}"


def estimate(
    client: ZipchatClient,
    warehouse: Warehouse,
    *,
    since: datetime,
    until: datetime,
    reserve: float,
    most_states: int = 0,
) -> Estimate:
    """The cost of materializing every asset for the days of [since, until), aware times.

    Args:
        reserve: fraction of each rate-limit window that the run will leave to others.
        most_states: requests that the run may spend on re-reading open escalations.

    Raises:
        ZipchatError: the API cannot be read.
    """
    reach = until + DAY  # see the first of the two unknowns above
    with warehouse.transaction() as transaction:
        coverage = store.listing_coverage(transaction, chat_id=client.chat_id)
        is_listed = coverage is not None and coverage[0] <= since
        list_since = coverage[1] if coverage and is_listed else since
        work = store.message_work(
            transaction,
            chat_id=client.chat_id,
            since=since,
            until=until,
            refresh=False,
        )
        held = store.held(
            transaction,
            work,
            chat_id=client.chat_id,
            since=since,
            until=until,
            list_since=list_since,
            reach=reach,
            page_size=LARGEST_MESSAGE_PAGE,
        )
        due = store.due_states(transaction, chat_id=client.chat_id, now=client.server_time())

    active = cache(partial(_count_active, client))
    listed = active(list_since)
    surely = listed - active(max(until, list_since))
    maybe = listed - active(max(reach, list_since))
    # At most so many stored conversations have new messages. They must be read again, and after
    # `reach` they are not counted.
    renewed = active(coverage[1]) if coverage else 0
    moved = renewed if reach < client.server_time() else 0
    low = max(len(work), surely - held.complete_surely_counted)
    high = held.work_not_counted + maybe - max(0, held.complete_counted - renewed) + moved
    to_read = Range(low, max(low, high))
    return _priced(
        client, held, listed, to_read, states=min(len(due), most_states), reserve=reserve
    )


def _priced(
    client: ZipchatClient,
    held: store.Held,
    listed: int,
    to_read: Range,
    *,
    states: int,
    reserve: float,
) -> Estimate:
    """The requests that it takes to list and to read so many, and their time."""
    users = 1 + held.users // LARGEST_PAGE
    always = users + requests_to_list(listed, largest=LARGEST_PAGE) + CHECK_REQUESTS
    requests = Range(
        always + round(to_read.low * held.pages_per_conversation),
        always + round(to_read.high * held.pages_per_conversation) + states,
    )
    limit, seconds = client.rate_limit
    held_back = min(math.ceil(limit * reserve), limit - 1)
    return Estimate(
        to_list=listed,
        to_read=to_read,
        complete=held.complete,
        pages_per_conversation=held.pages_per_conversation,
        requests=requests,
        fastest_seconds=(requests.low - 1) // limit * seconds,
        slowest_seconds=math.ceil(requests.high / (limit - held_back)) * seconds,
        limit=limit,
        window_seconds=seconds,
        held_back=held_back,
        requests_spent=client.requests,
    )


def _count_active(client: ZipchatClient, since: datetime) -> int:
    """How many conversations were active at or after `since`.

    Without a total, the first page that is not full is searched for: four times as far each time,
    then by halves. Of 12,000 conversations, this takes at most 12 requests, of 200,000 18.

    Raises:
        PageLoopError: the server shows the same page again instead of another one.
    """
    if since > client.server_time():
        return 0

    @cache
    def page(number: int) -> Page:
        return client.get_conversations_page(number, since=since)

    size = len(page(1).rows)  # the server's page size, unless the list ends here
    total = page(1).total
    if total is not None:
        return total
    if not size or page(1).is_last:
        return size
    full, beyond = 1, 2
    while len(page(beyond).rows) == size:
        if page(beyond).rows == page(full).rows or beyond > MOST_PAGES:
            raise PageLoopError(
                f"page {beyond} of the conversations shows what page {full} showed, or the list has"
                " no end: it does not advance. Does the server understand `page`?"
            )
        full, beyond = beyond, 4 * beyond
    end = bisect_left(range(beyond), True, lo=full + 1, key=lambda n: len(page(n).rows) < size)
    return (end - 1) * size + len(page(end).rows)
