"""Rate-limit pacing: what the API still lets us spend, shared by all who use the same key.

`BudgetTransport` sits between httpx and the network, so that no call can go around it. Each call
takes a permit from the `Budget`, and each answer's headers correct it. The state is one row per
key in a small SQLite file, which threads, processes and Dagster runs of one machine share; it is
changed in short `begin immediate` transactions. What the state means is in `window.py`.

Why not a limiter library: they pace by their own clock and know nothing of the server's window,
nor of other programs that spend from it.
"""

from __future__ import annotations

import hashlib
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

MAX_REFUSALS = 20  # windows in a row that others spent before we could
LONGEST_SLEEP = 0.25  # seconds; so that a cancelled run ends soon, and others' news are heard
WORTH_SAYING = 1.0  # seconds; shorter waits are not logged

SCHEMA = (Path(__file__).parent / "budget.sql").read_text(encoding="utf-8")
READ = "select state from budget where key_hash = ?"
FIELDS = {field.name for field in fields(Window)}
WRITE = "insert or replace into budget (key_hash, state) values (?, ?)"


class Clock(Protocol):
    """Time as the budget sees it, so that tests need not sleep."""

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
        key: the API key; only its SHA-256 is stored.
        path: the SQLite file to share it through; None keeps it to this object.
        reserve: the fraction of each window that is left to others until the window's last tenth.
        clock: time and sleep.
        logger: where waits are told, at level INFO.

    `requests`, `refused` (429) and `waited_seconds` count what went through this object.

    Raises:
        SettingError: the file is no SQLite database or cannot be written.
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
        self._turn = threading.Lock()  # one thread of this process asks at a time
        self._database = threading.Lock()
        self._cancelled = threading.Event()
        self._is_closed = False
        self._said_until = 0.0
        self._path = path
        self._connection = self._open()

    def acquire(self) -> str:
        """Wait until one more call fits, and return the permit for it."""
        permit = uuid.uuid4().hex
        with self._turn:
            started = self.clock.time()
            try:
                while True:
                    now = self.clock.time()
                    wait = self._decide(permit, now)
                    if not wait:
                        return permit
                    self._say(wait, now=now, waited=self.waited_seconds + now - started)
                    self.clock.sleep(min(wait, LONGEST_SLEEP))
            finally:
                self.waited_seconds += max(0.0, self.clock.time() - started)

    def settle(self, permit: str, answer: Answer) -> None:
        """Give a permit back with what the answer's headers said."""
        with self._database:
            self.requests += 1
            self.refused += answer.status == TOO_MANY_REQUESTS
            if not self._is_closed:  # else the permit lapses: see PERMIT_LIFETIME
                with self._changing() as window:
                    window.settle(permit, answer)

    def window(self) -> Window:
        """A copy of the shared state, as it is now; as it was first, once closed."""
        with self._database:
            return Window() if self._is_closed else self._read()

    def cancel(self) -> None:
        """Make calls that wait, now or later, raise RuntimeError."""
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
            # No fsync per call: after a power cut the next answer's headers correct the row.
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
            f"ZIPCHAT_BUDGET_DATABASE: {self._path} cannot be used as the budget's SQLite file"
            f" ({error}). Delete it if it is damaged; it is made anew."
        )

    def _say(self, wait: float, *, now: float, waited: float) -> None:
        if wait < WORTH_SAYING or now + wait <= self._said_until + WORTH_SAYING:
            return
        self._said_until = now + wait
        goes_on_at = datetime.fromtimestamp(now + wait, UTC).strftime("%H:%M:%S")
        self._logger.info(
            f"The request budget of this window is spent: waiting {wait:.0f} s, going on at"
            f" {goes_on_at} UTC ({self.requests} requests so far, {waited:.0f} s waited)."
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite's own time-out does not cover this, so that two who make the file at once collide."""
    for attempt in range(100):
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == 99:
                raise
            time.sleep(0.05)


def _load(state: str) -> Window:
    """A row written by another version of this package starts afresh."""
    try:
        values = json.loads(state)
    except ValueError:
        return Window()
    if not isinstance(values, dict) or values.keys() != FIELDS:
        return Window()
    window = Window(**values)
    window.opened = tuple(window.opened) if window.opened else None  # type: ignore[assignment]  # JSON has no tuples
    return window


class BudgetTransport(httpx.BaseTransport):
    """Sends each request when the budget has room for it, and again after a 429.

    A 429 says that nothing was carried out, so that writes may be sent again too.
    """

    def __init__(self, wrapped: httpx.BaseTransport, budget: Budget) -> None:
        self._wrapped = wrapped
        self._budget = budget

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Like httpx's; a 429 comes back only after `MAX_REFUSALS` windows."""
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
