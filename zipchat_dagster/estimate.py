"""What a backfill will cost in requests and hours, told before it starts, for five requests.

What is stored is known, and costs nothing. What is not is counted at the API: it is asked for one
page each of the conversations active since a few moments, and believed where it states a total.
Where it states none, further pages are looked at, as many as the five requests allow, and the
answer is a range. Two things nobody can know beforehand:

- which conversations began before the range's end and went on after it. Where that matters (the
  range ends before today), those that were last active on the day after the end are in the upper
  bound and not in the lower one;
- how many conversations have over 200 messages, each 200 of which take another request. Their
  share among those that are stored is taken for all.

Dagster-free but for `main`, which is `make estimate`: it runs `estimate_job` and prints its answer.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd

from zipchat_dagster.client import (
    LARGEST_MESSAGE_PAGE,
    LARGEST_PAGE,
    SettingError,
    ZipchatClient,
    requests_to_list,
)
from zipchat_dagster.client.listing import MARGIN
from zipchat_dagster.sync import duration
from zipchat_dagster.warehouse import Warehouse, store

MOST_REQUESTS: Final = 5
CHECK_REQUESTS: Final = 1  # newest_activity_is_stored, at a run's end
DAY: Final = timedelta(days=1)
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Range:
    """At least `low` and at most `high` (None: the API does not tell)."""

    low: int
    high: int | None

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low:,}"
        if self.low == self.high:
            return f"{self.low:,}"
        return f"{self.low:,} to {self.high:,}"

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, _plus(self.high, other.high))

    def __sub__(self, other: Range) -> Range:
        """What is left of this when some of the same are taken away."""
        low = 0 if other.high is None else max(0, self.low - other.high)
        return Range(low, None if self.high is None else max(low, self.high - other.low))

    def times(self, factor: float) -> Range:
        """So many times as much, rounded."""
        return Range(
            round(self.low * factor), None if self.high is None else round(self.high * factor)
        )


NONE: Final = Range(0, 0)


@dataclass(frozen=True)
class Estimate:
    """What materializing every asset for a range of days costs.

    Attributes:
        to_list: conversations that the listing brings.
        to_read: conversations whose messages are asked for.
        complete: conversations of the range that are stored with all their messages: free.
        pages_per_conversation: requests that one of `to_read` takes, by what is stored.
        requests: all requests.
        fastest_seconds: how long that takes when nobody else spends the limit.
        slowest_seconds: how long while live runs spend all of the reserve; None: no upper bound.
        limit, window_seconds: the rate limit, as the API's headers told.
        held_back: requests of each window that this leaves to live runs, until its last tenth.
        requests_spent: what this estimate cost.
    """

    to_list: Range
    to_read: Range
    complete: int
    pages_per_conversation: float
    requests: Range
    fastest_seconds: float
    slowest_seconds: float | None
    limit: int
    window_seconds: float
    held_back: int
    requests_spent: int

    def __str__(self) -> str:
        """A few readable lines."""
        about = "about " if self.requests.low == self.requests.high else ""
        held = f", {self.held_back} of which are left to live runs" if self.held_back else ""
        pages = f", {self.pages_per_conversation:.2f} requests each"
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
        fastest = duration(self.fastest_seconds)
        if self.slowest_seconds is None:
            return f"at least {fastest}"
        slowest = duration(self.slowest_seconds)
        if not self.fastest_seconds:
            return f"{slowest} at most"
        return f"about {fastest}" if fastest == slowest else f"{fastest} to {slowest}"

    def metadata(self) -> dict[str, Any]:
        """The figures by name; None where there is no upper bound."""
        return {
            "requests_at_least": self.requests.low,
            "requests_at_most": self.requests.high,
            "seconds_at_least": self.fastest_seconds,
            "seconds_at_most": self.slowest_seconds,
            "conversations_to_list_at_least": self.to_list.low,
            "conversations_to_list_at_most": self.to_list.high,
            "conversations_to_read_at_least": self.to_read.low,
            "conversations_to_read_at_most": self.to_read.high,
            "conversations_complete": self.complete,
            "pages_per_conversation": round(self.pages_per_conversation, 3),
            "limit": self.limit,
            "window_seconds": self.window_seconds,
            "requests": self.requests_spent,
        }


def estimate(
    client: ZipchatClient,
    warehouse: Warehouse,
    *,
    since: datetime,
    until: datetime,
    reserve: float,
    most_states: int = 0,
) -> Estimate:
    """What it costs to materialize every asset for the days of [since, until).

    Args:
        reserve: the fraction of each window that the run will leave to others.
        most_states: requests that it may spend on asking again about open escalations.

    Raises:
        ZipchatError: the API cannot be asked.
    """
    chat_id = client.chat_id
    with warehouse.transaction() as transaction:
        coverage = store.listing_coverage(transaction, chat_id=chat_id)
        work = store.message_work(
            transaction,
            chat_id=chat_id,
            since=since,
            until=until,
            timezone=warehouse.timezone,
            refresh=False,
        )
        due = (
            store.due_states(transaction, chat_id=chat_id, now=client.server_time())
            if most_states
            else []
        )
        # What no earlier run has listed: a band before what is covered, and what is new since.
        unlisted, new_since = (since, NEVER), NEVER
        if coverage:
            unlisted, new_since = (since, max(since, coverage[0])), coverage[1]
        held = store.held(
            transaction,
            work,
            chat_id=chat_id,
            since=since,
            until=until,
            band=unlisted,
            page_size=LARGEST_MESSAGE_PAGE,
        )
    is_covered = unlisted[0] == unlisted[1]
    counts = _Counts(client, new_since - MARGIN if is_covered else since)
    if (shown := counts.all_shown()) is not None:
        with warehouse.transaction() as transaction:
            new = store.shown_work(
                transaction, shown, work, chat_id=chat_id, since=since, until=until
            )
        to_read = Range(len(work) + new, len(work) + new)
    else:
        first, first_after = counts.concerned(*unlisted, until=until)
        late, late_after = counts.concerned(new_since, NEVER, until=until)
        at_least = first.low - held.complete_in_band + max(held.work_outside_band, late.low)
        at_most = first + late + Range(0, first_after.high) + Range(0, late_after.high)
        known = held.work_outside_band - held.complete_in_band
        low = max(0, at_least)
        to_read = Range(low, None if at_most.high is None else max(low, at_most.high + known))
    to_list = counts.all
    requests = (
        Range(*(2 * [1 + held.users // LARGEST_PAGE + CHECK_REQUESTS]))
        + Range(_to_list(to_list.low), None if to_list.high is None else _to_list(to_list.high))
        + to_read.times(held.pages_per_conversation)
        + Range(0, min(len(due), most_states))
    )
    limit, seconds = client.rate_limit
    held_back = min(math.ceil(limit * reserve), limit - 1)
    return Estimate(
        to_list=to_list,
        to_read=to_read,
        complete=held.complete,
        pages_per_conversation=held.pages_per_conversation,
        requests=requests,
        fastest_seconds=(requests.low - 1) // limit * seconds,
        slowest_seconds=None
        if requests.high is None
        else math.ceil(requests.high / (limit - held_back)) * seconds,
        limit=limit,
        window_seconds=seconds,
        held_back=held_back,
        requests_spent=client.requests,
    )


class _Counts:
    """How many conversations were active since some moments, for `MOST_REQUESTS` in all.

    Args:
        first: the earliest of these moments.
    """

    def __init__(self, client: ZipchatClient, first: datetime) -> None:
        self._client = client
        self._first = _Count(client, first)
        self._counts = {first: self._first}
        self._left = MOST_REQUESTS - 1

    @property
    def all(self) -> Range:
        """How many were active since the earliest moment."""
        return self._first.range

    def since(self, at: datetime) -> Range:
        """How many were active at or after `at`."""
        if at > self._client.server_time():
            return NONE
        if at not in self._counts:
            if not self._left:
                return Range(0, self._bound(at))
            self._left -= 1
            self._counts[at] = _Count(self._client, at)
        count_range = self._counts[at].range
        return Range(count_range.low, _least(count_range.high, self._bound(at)))

    def all_shown(self) -> list[dict[str, Any]] | None:
        """All conversations since the earliest moment, where one page showed them."""
        return self._first.rows if self._first.is_whole else None

    def concerned(self, since: datetime, end: datetime, *, until: datetime) -> tuple[Range, Range]:
        """Of the conversations last active in [since, end): those that surely began before
        `until`, and those that may have."""
        surely = maybe = NONE
        if since < min(until, end):
            surely = self._between(since, min(until, end))
        begin, end = max(since, until), min(end, until + DAY)
        if begin < end:
            maybe = self._between(begin, end)
        return surely, maybe

    def _between(self, since: datetime, until: datetime) -> Range:
        self.since(since)
        self.since(until)
        self._refine()
        return self.since(since) - self.since(until)

    def _refine(self) -> None:
        """Spend what is left on the counts that are least certain."""
        while self._left:
            open_counts = [count for count in self._counts.values() if count.width > 0]
            if not open_counts:
                return
            self._left -= 1
            max(open_counts, key=lambda count: count.width).refine()

    def _bound(self, at: datetime) -> int | None:
        """No more than since any earlier moment."""
        highs = (count.range.high for moment, count in self._counts.items() if moment < at)
        return min((high for high in highs if high is not None), default=None)


class _Count:
    """How many conversations were active since a moment: bounds that each request narrows.

    Where the API states no total, a page that is full is a lower bound, an empty one an upper one,
    and one that is neither is the end. Which page to look at next is guessed from how far back in
    time a page reaches.
    """

    def __init__(self, client: ZipchatClient, since: datetime) -> None:
        self._client = client
        self._since = since
        page = client.get_conversations_page(since=since)
        self.rows = page.rows
        is_end = page.is_last or (page.is_last is None and len(page.rows) < LARGEST_PAGE)
        total = len(page.rows) if page.total is None and is_end else page.total
        self.range = Range(len(page.rows) if total is None else total, total)
        self.is_whole = total is not None and len(page.rows) >= total
        self._full = 1
        self._empty: int | None = None
        self._guess = self._end_by(page.rows, 1)

    @property
    def width(self) -> float:
        return math.inf if self.range.high is None else self.range.high - self.range.low

    def refine(self) -> None:
        """Look at one more page."""
        number = self._next()
        rows = self._client.get_conversations_page(number, since=self._since).rows
        if len(rows) == LARGEST_PAGE:
            self._full = number
            self._guess = self._end_by(rows, number)
        elif rows:
            exact = (number - 1) * LARGEST_PAGE + len(rows)
            self.range = Range(exact, exact)
            return
        else:
            self._empty = number
        high = None if self._empty is None else (self._empty - 1) * LARGEST_PAGE
        self.range = Range(self._full * LARGEST_PAGE, high)

    def _next(self) -> int:
        if self._empty is None:
            return max(2 * self._full, math.ceil(1.1 * self._guess))
        if self._full < self._guess < self._empty:
            return self._guess
        return max(self._full + 1, math.isqrt(self._full * self._empty))

    def _end_by(self, rows: Sequence[dict[str, Any]], number: int) -> int:
        """On which page the list would end, if it went on at the pace that brought it to here."""
        moments = [moment for moment in _activity(rows) if moment is not None]
        if not moments:
            return 2 * number
        now, reached = self._client.server_time(), moments[-1]
        is_newest_first = moments[0] >= reached
        passed = now - reached if is_newest_first else reached - self._since
        return math.ceil(number * (now - self._since) / max(passed, timedelta(seconds=1)))


def _activity(rows: Sequence[dict[str, Any]]) -> list[datetime | None]:
    moments = store.times(row.get("last_message_at") for row in rows)
    return [None if pd.isna(moment) else moment.to_pydatetime() for moment in moments]


def _to_list(conversations: int) -> int:
    return requests_to_list(conversations, largest=LARGEST_PAGE)


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _least(one: int | None, other: int | None) -> int | None:
    known = [bound for bound in (one, other) if bound is not None]
    return min(known, default=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimate for a range of days; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zipchat_dagster.estimate",
        description="What a backfill will cost in requests and hours, for five requests at most.",
    )
    parser.add_argument("--first", default="", help="first day; ZIPCHAT_START_DATE unless given")
    parser.add_argument("--last", default="", help="last day; today unless given")
    options = parser.parse_args(arguments)
    import dagster as dg
    import dotenv

    from zipchat_dagster.settings import PROJECT

    known = {name: value for name, value in dotenv.dotenv_values(PROJECT / ".env").items() if value}
    os.environ |= known | dict(os.environ)
    try:
        # The definitions read the environment when they are imported.
        from zipchat_dagster.definitions import defs

        result = defs.resolve_job_def("estimate_job").execute_in_process(
            run_config={
                "ops": {"estimate": {"config": {"first": options.first, "last": options.last}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    except dg.Failure as failure:
        print(failure.description, file=sys.stderr)
        return 1
    print(result.output_for_node("estimate"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
