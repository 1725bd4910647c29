"""Rate-limit pacing: how many more requests the API allows, shared by everything that uses a key.

`BudgetTransport` sits between httpx and the network, so no call can bypass it. Each call takes a
permit from the `Budget`, and each response's headers correct it. The state is one row per key in a
small SQLite file, shared by all threads, processes and Dagster runs on the machine. `window.py`
explains what the state means.

A call costs two short transactions, well under 0.1 ms of CPU (`python -m benchmarks.budget`).
That is a small part of an HTTP request, so permits are not handed out in advance.

Rate-limiter libraries pace by their own clock. They know neither the server's window nor the other
programs that spend from it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx

from zipchat_dagster.client.errors import SettingError
from zipchat_dagster.client.window import TOO_MANY_REQUESTS, Answer, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_REFUSALS = 20  # of one request, each in another window that other programs had spent
LONGEST_SLEEP = 0.25  # seconds; then what other processes learned is read, and cancelling noticed
WORTH_LOGGING = 1.0  # seconds; shorter waits are not logged

SCHEMA = (Path(__file__).parent / "budget.sql").read_text(encoding="utf-8")
READ = "select state from budget where key_hash = ?"
FIELDS = {field.name for field in fields(Window)}
WRITE = """
    insert into budget (key_hash, state) values (?, ?)
    on conflict (key_hash) do update set state = excluded.state
"""


class Clock(Protocol):
    """What the budget needs of a clock, so that tests need not sleep."""

    def time(self) -> float:
        """Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Budget:
    """The budget of one API key.

    Args:
        key: the API key. Only its SHA-256 is stored.
        path: the SQLite file through which the budget is shared. None: it is not shared.
        reserve: the fraction of each window that is left to others until the window's last tenth.
        clock: time and sleep.
        logger: logs waits, at level INFO.

    `requests`, `refused` (429) and `waited_seconds` count what went through this object.

    Raises:
        SettingError: the file is not a SQLite database, or it cannot be written.
    """

    def __init__(
        self,
        key: str,
        *,
        path: Path | None = None,
        reserve: float = 0.0,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.requests = 0
        self.refused = 0
        self.waited_seconds = 0.0
        self.reserve = reserve
        self.clock = clock or SystemClock()
        self._logger = logger or logging.getLogger("zipchat_dagster")
        self._key_hash = hashlib.sha256(key.encode()).hexdigest()
        self._process = uuid.uuid4().hex[:12]
        self._permits = itertools.count()
        self._turn = threading.Lock()  # one thread of this process waits for the window at a time
        self._database = threading.Lock()
        self._cancelled = threading.Event()
        self._is_closed = False
        self._logged_until = 0.0
        self._path = path
        self._connection = self._open()

    def acquire(self) -> str:
        """Wait until one more call fits, and return the permit for it.

        Raises:
            RuntimeError: the budget was cancelled or closed.
            SettingError: the file cannot be used.
        """
        permit = f"{self._process}-{next(self._permits)}"
        with self._turn:
            started = self.clock.time()
            try:
                while True:
                    now = self.clock.time()
                    wait = self._decide(permit, now)
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
            if not self._is_closed:  # otherwise the permit lapses: see PERMIT_LIFETIME
                with self._changing() as window:
                    window.settle(permit, answer)

    def window(self) -> Window:
        """A copy of the shared state. Once closed, that of a new window."""
        with self._database:
            return Window() if self._is_closed else self._read()

    def cancel(self) -> None:
        """Make `acquire` raise RuntimeError, in threads that are waiting too."""
        self._cancelled.set()

    def close(self) -> None:
        """Cancel, and close the file."""
        self.cancel()
        with self._database:
            self._is_closed = True
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            _use_wal(connection)
            # No fsync: after a power cut, the next response's headers correct the row.
            connection.execute("pragma synchronous = off")
            connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            connection.close()
            raise self._unusable(error) from None
        return connection

    def _decide(self, permit: str, now: float) -> float:
        with self._database:
            if self._cancelled.is_set():
                raise RuntimeError("the client was closed while a call was waiting")
            with self._changing() as window:
                return window.decide(permit, now=now, reserve=self.reserve)

    @contextmanager
    def _changing(self) -> Iterator[Window]:
        """The shared state, to be changed in one transaction."""
        try:
            self._connection.execute("begin immediate")
            try:
                window = self._read()
                yield window
                self._connection.execute(WRITE, (self._key_hash, json.dumps(vars(window))))
            except BaseException:
                if self._connection.in_transaction:  # some errors of SQLite roll back themselves
                    self._connection.execute("rollback")
                raise
            self._connection.execute("commit")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _read(self) -> Window:
        row = self._connection.execute(READ, (self._key_hash,)).fetchone()
        return _load(row[0]) if row else Window()

    def _unusable(self, error: Exception) -> SettingError:
        return SettingError(
            f"the budget file {self._path} cannot be used ({error}). If it is damaged, delete it:"
            " a new one is created."
        )

    def _log(self, wait: float, *, now: float, waited: float) -> None:
        if wait < WORTH_LOGGING or now + wait <= self._logged_until + WORTH_LOGGING:
            return
        self._logged_until = now + wait
        continues_at = datetime.fromtimestamp(now + wait, UTC).strftime("%H:%M:%S")
        self._logger.info(
            f"The request budget of this window is spent: waiting {wait:.0f} s, continuing at"
            f" {continues_at} UTC ({self.requests} requests so far, {waited:.0f} s waited)."
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite's time-out does not cover this, so two processes that create the file may collide."""
    for attempt in range(100):
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == 99:
                raise
            time.sleep(0.05)


def _load(state: str) -> Window:
    """The window in a row. One that another version of this package wrote starts afresh."""
    try:
        values = json.loads(state)
    except ValueError:
        return Window()
    if not isinstance(values, dict) or values.keys() != FIELDS:
        return Window()
    return Window(**values)


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
        """Close the wrapped transport and the budget."""
        self._wrapped.close()
        self._budget.close()


def answer_of(response: httpx.Response, sent_at: float, received_at: float) -> Answer:
    """What a response's headers say. Both times are local Unix seconds."""
    headers = response.headers
    limit, remaining = _number(headers, "Limit"), _number(headers, "Remaining")
    retry_after = headers.get("Retry-After", "")
    return Answer(
        sent_at,
        received_at,
        status=response.status_code,
        date=date_of(response),
        limit=None if limit is None else int(limit),
        remaining=None if remaining is None else int(remaining),
        reset=_number(headers, "Reset"),
        retry_after=float(retry_after) if retry_after.isdecimal() else None,
    )


def _number(headers: httpx.Headers, name: str) -> float | None:
    try:
        number = float(headers[f"X-RateLimit-{name}"])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def date_of(response: httpx.Response) -> float | None:
    """The `Date` header in Unix seconds, None where it is missing or malformed."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
