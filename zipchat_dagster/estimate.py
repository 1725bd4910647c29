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
from itertools import pairwise
from typing import Any, Final

import pandas as pd

from zipchat_dagster.client import (
    LARGEST_MESSAGE_PAGE,
    LARGEST_PAGE,
    Page,
    SettingError,
    ZipchatClient,
    requests_to_list,
)
from zipchat_dagster.client.listing import MARGIN
from zipchat_dagster.progress import duration
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

    @property
    def width(self) -> float:
        """What is not known of it."""
        return math.inf if self.high is None else self.high - self.low

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
        held = f", {self.held_back:,} of which are left to live runs" if self.held_back else ""
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
            return f"at least {fastest}" if self.fastest_seconds else "nobody can say how long"
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
        # Nothing else can come than what is listed or known to be lacking.
        bounds = [at_most.high, counts.all.high]
        high = min((bound for bound in bounds if bound is not None), default=None)
        to_read = Range(low, None if high is None else max(low, high + known))
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
        self._first = first
        self._left = MOST_REQUESTS - 1
        page = client.get_conversations_page(since=first)
        self._rows = page.rows
        self._totals = {} if page.total is None else {first: page.total}
        self._ranks = _Ranks(page, since=first, now=client.server_time())

    @property
    def all(self) -> Range:
        """How many were active since the earliest moment."""
        return self.since(self._first)

    def all_shown(self) -> list[dict[str, Any]] | None:
        """All conversations since the earliest moment, where one page showed them."""
        return self._rows if self.all.high == len(self._rows) else None

    def since(self, at: datetime) -> Range:
        """How many were active at or after `at`."""
        if at > self._client.server_time():
            return NONE
        if not self._totals:
            return self._ranks.since(at)
        if at not in self._totals and self._left:
            self._left -= 1
            total = self._client.get_conversations_page(since=at).total
            if total is not None:
                self._totals[at] = total
        if at in self._totals:
            return Range(self._totals[at], self._totals[at])
        return Range(0, self._totals[self._first])

    def concerned(self, since: datetime, end: datetime, *, until: datetime) -> tuple[Range, Range]:
        """Of the conversations last active in [since, end): those that surely began before
        `until`, and those that may have."""
        surely = maybe = NONE
        if since < min(until, end):
            self._narrow(since, min(until, end))
            surely = self.since(since) - self.since(min(until, end))
        begin, end = max(since, until), min(end, until + DAY)
        if begin < end:
            maybe = self.since(begin) - self.since(end)
        return surely, maybe

    def _narrow(self, *moments: datetime) -> None:
        """Where the API states no totals: look at pages, for what is least certain first."""
        while self._left and not self._totals:
            pages = ((self.since(at).width, self._ranks.page_to_look_at(at)) for at in moments)
            worthwhile = [(width, number) for width, number in pages if width and number]
            if not worthwhile:
                return
            _, number = max(worthwhile)
            self._left -= 1
            page = self._client.get_conversations_page(number, since=self._first)
            self._ranks.add(number, page)


class _Ranks:
    """What pages of a list tell of its length, and of how many of it came before some moment,
    where the API states no total.

    A page that is full is a lower bound of the length, an empty one an upper one, and one that is
    neither is the end. Which page to look at next is guessed from the times on those seen before.
    """

    def __init__(self, page: Page, *, since: datetime, now: datetime) -> None:
        self._since = since
        self._now = now
        self._pages: dict[int, list[datetime]] = {}
        self._length = Range(0, None)
        self.add(1, page)

    def add(self, number: int, page: Page) -> None:
        """Take in a page."""
        above = (number - 1) * LARGEST_PAGE
        is_full = len(page.rows) == LARGEST_PAGE and not page.is_last
        if page.rows:
            moments = _activity(page.rows)
            self._pages[number] = [at for at in moments if at is not None]
        if page.rows or number == 1:
            low = high = above + len(page.rows)
            self._length = Range(low, self._length.high if is_full else high)
        else:
            self._length = Range(self._length.low, above)

    def since(self, at: datetime) -> Range:
        """How many rows are of `at` or later."""
        if at <= self._since:
            return self._length
        if self._direction is None:
            return Range(0, self._length.high)
        passed = self._passed(at)
        return passed if self._direction < 0 else self._length - passed

    def page_to_look_at(self, at: datetime) -> int | None:
        """The page that is likely to tell most of how many are of `at` or later; None: none."""
        if at <= self._since:
            return self._last_page()
        if self._direction is None:
            return None
        passed = self._passed(at)
        low = passed.low // LARGEST_PAGE + 1
        high = max(low, math.ceil((passed.high or 2 * self._likely_length) / LARGEST_PAGE))
        guess = min(max(math.ceil(self._rank(at) / LARGEST_PAGE), low), high)
        untold = [n for n in (guess, (low + high) // 2, low, high) if n not in self._pages]
        return next(iter(untold), None)

    def _last_page(self) -> int | None:
        """A page near the end, beyond those known to be full and before those known to be empty."""
        full, likely = self._length.low // LARGEST_PAGE, self._likely_length / LARGEST_PAGE
        if 3 * full < likely:
            number = math.ceil(likely / 2)  # the pace of a few hours is not that of all
        elif self._length.high is None:
            number = math.ceil(1.05 * likely)
        else:
            likely = min(likely, self._length.high / LARGEST_PAGE)
            number = math.ceil((0.95 if full < 0.9 * likely else 1) * likely)
        if self._length.high is None:
            return max(number, full + 1)
        empty = self._length.high // LARGEST_PAGE + 1
        if not full < number < empty:
            number = max(full + 1, (full + empty) // 2)
        return number if number < empty else None

    @property
    def _direction(self) -> int | None:
        """-1: newest activity first; 1: oldest first; None: neither."""
        pages = [moments for moments in self._pages.values() if moments]
        if pages and all(moments == sorted(moments, reverse=True) for moments in pages):
            return -1
        return 1 if pages and all(moments == sorted(moments) for moments in pages) else None

    def _passed(self, at: datetime) -> Range:
        """How many rows come before the first that is on the other side of `at`."""
        low, high = 0, self._length.high
        for number, moments in self._pages.items():
            passed = sum((moment >= at) == (self._direction == -1) for moment in moments)
            rank = (number - 1) * LARGEST_PAGE + passed
            if passed:
                low = max(low, rank)
            if passed < len(moments):
                high = rank if high is None else min(high, rank)
        return Range(low, high)

    @property
    def _likely_length(self) -> float:
        """How long the list is if it goes on at the pace of the pages that were seen."""
        number, moments = max(self._pages.items())
        if not moments:
            return 2 * number * LARGEST_PAGE
        begin, (_, end) = (self._pages.get(1) or moments)[0], self._span
        reached = max(abs(moments[-1] - begin), timedelta(seconds=1))
        return number * LARGEST_PAGE * (abs(end - begin) / reached)

    def _rank(self, at: datetime) -> float:
        """Where in the list `at` is, between what was seen before and after it."""
        begin, end = self._span
        points = [(0.0, begin)]
        points += [(n * LARGEST_PAGE, seen[-1]) for n, seen in sorted(self._pages.items()) if seen]
        points += [(self._length.high or self._likely_length, end)]
        for (rank, moment), (next_rank, next_moment) in pairwise(points):
            if min(moment, next_moment) <= at <= max(moment, next_moment):
                share = (at - moment) / (next_moment - moment) if moment != next_moment else 0.0
                return rank + share * (next_rank - rank)
        return points[-1][0]

    @property
    def _span(self) -> tuple[datetime, datetime]:
        """The times at which the list begins and ends, in about its order: by id, it begins with
        the older ones or with the newer ones too."""
        moments = self._pages.get(1) or [self._now]
        is_newest_first = moments[0] >= moments[-1]
        return (self._now, self._since) if is_newest_first else (self._since, self._now)


def _activity(rows: Sequence[dict[str, Any]]) -> list[datetime | None]:
    moments = store.times(row.get("last_message_at") for row in rows)
    return [None if pd.isna(moment) else moment.to_pydatetime() for moment in moments]


def _to_list(conversations: int) -> int:
    return requests_to_list(conversations, largest=LARGEST_PAGE)


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


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
