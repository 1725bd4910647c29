"""The progress of a long fetch: log lines, finished days, durations, lists of ids."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from zipchat_dagster.client import ZipchatClient

PROGRESS_EVERY: Final = 30.0  # seconds between two progress lines
NAMED_AT_MOST: Final = 20  # ids in a message; the tables have them all


def named(ids: Sequence[int]) -> str:
    """The ids as text, cut to a readable number."""
    more = f" and {len(ids) - NAMED_AT_MOST:,} more" if len(ids) > NAMED_AT_MOST else ""
    return ", ".join(map(str, ids[:NAMED_AT_MOST])) + more


def duration(seconds: float) -> str:
    """`95 s`, `12 min`, `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Logs the progress of a long fetch every half minute: done, requests, rate, time left."""

    def __init__(self, client: ZipchatClient, log: logging.Logger, what: str) -> None:
        self._client = client
        self._log = log
        self._what = what
        self._began_at = self._logged_at = client.clock.time()
        self._requests = client.requests

    def report(self, done: int, *, total: int | None) -> None:
        """Log a line, unless the last one is too recent."""
        now = self._client.clock.time()
        if now - self._logged_at < PROGRESS_EVERY or not done:
            return
        self._logged_at = now
        elapsed = now - self._began_at
        requests = self._client.requests - self._requests
        of = f" of {total:,}" if total else ""
        left = f", about {duration((total - done) * elapsed / done)} left" if total else ""
        self._log.info(
            f"{self._what}: {done:,}{of}{left}. Requests: {requests:,}"
            f" ({requests * 60 / elapsed:.0f} a minute)."
        )


class Calendar:
    """Calls `on_day` for each day, in order, once that day and all before it are finished.

    Args:
        days: the days in order, as ISO dates.
        work: the first day of each piece of work.
    """

    def __init__(
        self, days: Sequence[str], work: Iterable[str], on_day: Callable[[str], None]
    ) -> None:
        self._days = list(days)
        self._outstanding = Counter(work)
        self._on_day = on_day

    def done(self, work: Iterable[str]) -> None:
        """Record finished work, by its first day."""
        self._outstanding.subtract(work)
        while self._days and not self._outstanding[self._days[0]]:
            self._on_day(self._days.pop(0))
