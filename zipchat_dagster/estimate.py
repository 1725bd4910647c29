"""Estimates the cost of a backfill in requests and hours before it starts.

Stored conversations cost nothing. The API tells how many others there are: those active since the
start of the range and, if it ends in the past, since its end. If the API states a total, each count
takes one request. Otherwise the end of the list is searched for, with at most `MOST_REQUESTS`
requests. If that is too few, the result is a range.

Two things cannot be known in advance:

- which conversations began before the end of the range and continued after it. Those last active on
  the day after it only count in the upper bound. Those last active later are assumed to have begun
  after it, except for stored ones;
- how many conversations have over 200 messages, which take more than one request to read. Their
  share among the stored conversations is used for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final

from zipchat_dagster.client import (
    LARGEST_MESSAGE_PAGE,
    LARGEST_PAGE,
    PageLoopError,
    ZipchatClient,
    requests_to_list,
)
from zipchat_dagster.progress import duration
from zipchat_dagster.warehouse import Warehouse, store

MOST_REQUESTS: Final = 12  # for one length: exact up to 10,000 conversations, 10 % at 100,000
MOST_PAGES: Final = 1_000_000  # of a list
CHECK_REQUESTS: Final = 1  # the check newest_activity_is_stored, at the end of a run
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Range:
    """At least `low` and at most `high`."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"

    def __sub__(self, part: Range) -> Range:
        """What remains without `part`."""
        return Range(max(0, self.low - part.high), max(0, self.high - part.low))


NONE: Final = Range(0, 0)


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

    to_list: Range
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
                f"  conversations to list      {self.to_list}",
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
            timezone=warehouse.timezone,
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
    surely = listed - active(until) if list_since < until else NONE
    maybe = listed - active(reach) if list_since < reach else NONE
    # At most so many stored conversations have new messages. They must be read again, and after
    # `reach` they are not counted.
    renewed = active(coverage[1]).high if coverage else 0
    moved = renewed if reach < client.server_time() else 0
    low = max(len(work), surely.low - held.complete_surely_counted)
    high = held.work_not_counted + maybe.high - max(0, held.complete_counted - renewed) + moved
    to_read = Range(low, max(low, high))
    return _priced(
        client, held, listed, to_read, states=min(len(due), most_states), reserve=reserve
    )


def _priced(
    client: ZipchatClient,
    held: store.Held,
    listed: Range,
    to_read: Range,
    *,
    states: int,
    reserve: float,
) -> Estimate:
    """The requests that it takes to list and to read so many, and their time."""
    always = 1 + held.users // LARGEST_PAGE + CHECK_REQUESTS
    low, high = (
        always
        + requests_to_list(to_list, largest=LARGEST_PAGE)
        + round(to_read * held.pages_per_conversation)
        for to_list, to_read in ((listed.low, to_read.low), (listed.high, to_read.high))
    )
    requests = Range(low, high + states)
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


def _count_active(client: ZipchatClient, since: datetime) -> Range:
    """How many conversations were active at or after `since`, for at most MOST_REQUESTS requests.

    Raises:
        PageLoopError: the server shows the first page again instead of another one.
    """
    if since > client.server_time():
        return NONE
    first = client.get_conversations_page(since=since)
    size = len(first.rows)  # the server's page size, unless the list ends here
    if first.total is not None:
        return Range(first.total, first.total)
    if not first.rows or first.is_last:
        return Range(size, size)
    full, beyond = 1, MOST_PAGES  # the last page known to be full, the first known not to exist
    for _ in range(MOST_REQUESTS - 1):
        if beyond - full == 1:
            break
        # Four times as far each time, then bisect. Twice as far leaves too few requests to bisect:
        # of 100,000 conversations 35 % stay unknown on average, instead of 6 %.
        number = min(4 * full if full > 1 else 2, (full + beyond) // 2)
        page = client.get_conversations_page(number, since=since)
        if page.rows == first.rows:
            raise PageLoopError(
                f"page {number} of the conversations shows what page 1 showed: the list does not"
                " advance. Does the server understand `page`?"
            )
        if not page.rows:
            beyond = number
        elif len(page.rows) == size and not page.is_last:
            full = number
        else:  # the last page
            length = (number - 1) * size + len(page.rows)
            return Range(length, length)
    return Range(full * size, (beyond - 1) * size)
