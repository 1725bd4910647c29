"""Rate-limit pacing: how many more requests the API allows, shared by everything that uses a key.

`BudgetTransport` wraps the network, so no call can bypass it. Each call takes a permit from the
`Budget`, and each response's headers correct it. The state is one row per key, shared by all
threads, processes and Dagster runs on the machine through a small SQLite file, or on several
machines through PostgreSQL (`budget_stores.py`). `window.py` explains what the state means.

A call costs two short transactions, in a file well under 0.1 ms of CPU (`python -m
benchmarks.budget`). That is a small part of an HTTP request, so permits are not handed out in
advance.

Rate-limiter libraries pace by their own clock. They know neither the server's window nor the other
programs that spend from it.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

import httpx

from zipchat_dagster.client.budget_stores import Change, T, open_store
from zipchat_dagster.client.errors import BudgetDownError
from zipchat_dagster.client.window import TOO_MANY_REQUESTS, Answer, Window

MAX_REFUSALS = 20  # of one request, each in another window that other programs had spent
LONGEST_SLEEP = 0.25  # seconds; then what other processes learned is read, and cancelling noticed
WORTH_LOGGING = 1.0  # seconds; shorter waits are not logged
LONGEST_OUTAGE = 60.0  # seconds in which a database that went away may come back


class _ClosedError(RuntimeError):
    """The budget was cancelled or closed."""

    def __init__(self) -> None:
        super().__init__("the client was closed while a call was waiting")


class Clock:
    """The machine's clock. Tests have others, with which they need not sleep."""

    def time(self) -> float:
        """Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(seconds)


class Budget:
    """The budget of one API key.

    Args:
        key: the API key. Only its SHA-256 is stored.
        database: where the budget is shared: the path of a SQLite file, or the postgresql://
            address of a database (`check_budget`). None: it is not shared.
        reserve: the fraction of each window that is left to others until the window's last tenth.
        clock: time and sleep.
        logger: logs waits, at level INFO.

    `requests`, `refused` (429) and `waited_seconds` count what went through this object; `latency`
    is how many seconds an answer takes, as a moving average (0 before the first one).

    Raises:
        SettingError: the database cannot be used.
    """

    def __init__(
        self,
        key: str,
        *,
        database: Path | str | None = None,
        reserve: float = 0.0,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.requests = 0
        self.refused = 0
        self.waited_seconds = 0.0
        self.latency = 0.0
        self.reserve = reserve
        self.clock = clock or Clock()
        self._logger = logger or logging.getLogger("zipchat_dagster")
        self._process = uuid.uuid4().hex[:12]
        self._permits = itertools.count()
        self._turn = threading.Lock()  # one thread of this process waits for the window at a time
        self._database = threading.Lock()
        self._cancelled = threading.Event()
        self._is_closed = False
        self._logged_until = 0.0
        key_hash = hashlib.sha256(key.encode()).hexdigest()
        self._store = open_store(database, key_hash, self.clock.time)

    def acquire(self) -> str:
        """Wait until one more call fits, and return the permit for it.

        Raises:
            RuntimeError: the budget was cancelled or closed.
            BudgetDownError: the database was gone for `LONGEST_OUTAGE`.
            SettingError: the database cannot be used.
        """
        permit = f"{self._process}-{next(self._permits)}"
        with self._turn:
            started = self.clock.time()
            try:
                while True:
                    if self._cancelled.is_set():
                        raise _ClosedError
                    now = self.clock.time()
                    wait = self._change(
                        lambda window, at, _: window.decide(permit, now=at, reserve=self.reserve)
                    )
                    if not wait:
                        return permit
                    self._log(wait, now=now, waited=self.waited_seconds + now - started)
                    self.clock.sleep(min(wait, LONGEST_SLEEP))
            finally:
                self.waited_seconds += max(0.0, self.clock.time() - started)

    def settle(self, permit: str, answer: Answer) -> None:
        """Give a permit back, with what the response's headers say."""
        with self._database:
            self.requests += 1
            self.refused += answer.status == TOO_MANY_REQUESTS
            if answer.status is not None:
                seconds = max(0.0, answer.received_at - answer.sent_at)
                self.latency += (seconds - self.latency) / (10 if self.latency else 1)
        # Otherwise the permit lapses (PERMIT_LIFETIME). The response must not be lost for that.
        with suppress(BudgetDownError, _ClosedError):
            self._change(lambda window, _, shift: window.settle(permit, answer.shifted(shift)))

    def window(self) -> Window:
        """A copy of the shared state. Once closed, that of a new window."""
        try:
            return self._change(lambda window, _now, _shift: window)
        except _ClosedError:
            return Window()

    def server_time(self) -> float:
        """Now by the API's clock in Unix seconds, as far as its responses have shown it."""
        try:
            return self._change(lambda window, now, _: now + (window.offset or 0.0))
        except _ClosedError:
            return self.clock.time()

    def pause(self, seconds: float) -> None:
        """Let time pass, in short pieces so that cancelling ends it soon."""
        while seconds > 0 and not self._cancelled.is_set():
            self.clock.sleep(min(seconds, LONGEST_SLEEP))
            seconds -= LONGEST_SLEEP

    def cancel(self) -> None:
        """End pauses and make `acquire` raise RuntimeError, in threads that are waiting too."""
        self._cancelled.set()

    def close(self) -> None:
        """Cancel, and close the database."""
        self.cancel()
        with self._database:
            self._is_closed = True
            self._store.close()

    def _change(self, change: Change[T]) -> T:
        """Change the shared window, if need be once its database is back."""
        until = self.clock.time() + LONGEST_OUTAGE
        while True:
            with self._database:
                if self._is_closed:
                    raise _ClosedError
                try:
                    return self._store.change(change)
                except BudgetDownError:
                    if self._cancelled.is_set() or self.clock.time() >= until:
                        raise
            self.clock.sleep(LONGEST_SLEEP)

    def _log(self, wait: float, *, now: float, waited: float) -> None:
        if wait < WORTH_LOGGING or now + wait <= self._logged_until + WORTH_LOGGING:
            return
        self._logged_until = now + wait
        continues_at = datetime.fromtimestamp(now + wait, UTC).strftime("%H:%M:%S")
        self._logger.info(
            f"The request budget of this window is spent: waiting {wait:.0f} s, continuing at"
            f" {continues_at} UTC ({self.requests} requests so far, {waited:.0f} s waited)."
        )


class BudgetTransport(httpx.BaseTransport):
    """Sends each request when the budget has room for it, and again after a 429.

    A 429 means that nothing was carried out, so writes are sent again too.
    """

    def __init__(self, wrapped: httpx.BaseTransport, budget: Budget) -> None:
        self._wrapped = wrapped
        self._budget = budget

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. A 429 is returned only after `MAX_REFUSALS` windows."""
        for _ in range(MAX_REFUSALS):
            response = self._send(request)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            response.read()
        return response

    def _send(self, request: httpx.Request) -> httpx.Response:
        permit = self._budget.acquire()
        sent_at = self._budget.clock.time()
        answer = Answer(sent_at, sent_at)
        try:
            response = self._wrapped.handle_request(request)
            answer = answer_of(response, sent_at, self._budget.clock.time())
            return response
        finally:
            if answer.status is None:
                answer = Answer(sent_at, self._budget.clock.time())
            self._budget.settle(permit, answer)

    def close(self) -> None:
        """Close the budget, so that no call begins any more, and the wrapped transport."""
        self._budget.close()
        self._wrapped.close()


def answer_of(response: httpx.Response, sent_at: float, received_at: float) -> Answer:
    """What a response's headers say. Both times are local Unix seconds."""
    headers = response.headers
    limit, remaining = _number(headers, "Limit"), _number(headers, "Remaining")
    return Answer(
        sent_at,
        received_at,
        status=response.status_code,
        date=date_of(response),
        limit=None if limit is None else int(limit),
        remaining=None if remaining is None else int(remaining),
        reset=_number(headers, "Reset"),
        retry_after=_retry_after(headers, date_of(response)),
    )


def _retry_after(headers: httpx.Headers, now: float | None) -> float | None:
    """Seconds from now; `Retry-After` states either them or a date, which is the server's."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    at = _time_in(text)
    return None if at is None or now is None else max(0.0, at - now)


def _number(headers: httpx.Headers, name: str) -> float | None:
    try:
        number = float(headers[f"X-RateLimit-{name}"])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def date_of(response: httpx.Response) -> float | None:
    """The `Date` header in Unix seconds, None where it is missing or malformed."""
    return _time_in(response.headers.get("Date", ""))


@lru_cache(maxsize=8)  # all answers of a second have the same one
def _time_in(text: str) -> float | None:
    """A header's date in Unix seconds."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
