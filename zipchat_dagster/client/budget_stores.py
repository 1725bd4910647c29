"""Where a budget is kept: a row per API key in a SQLite file, or in PostgreSQL.

A store has one method, `change`. It locks the row for one short transaction, so that no other
process sees or changes the window meanwhile.
"""

from __future__ import annotations

import importlib
import json
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zipchat_dagster.client.errors import BudgetDownError, SettingError
from zipchat_dagster.client.window import Window

T = TypeVar("T")
# (window, now, shift) → result. `now` is the store's time, the same for all its users. `shift` is
# what to add to a time of this machine's clock to get the store's. Both in seconds.
Change = Callable[[Window, float, float], T]

SCHEMA = (Path(__file__).parent / "budget.sql").read_text(encoding="utf-8")
FIELDS = {field.name for field in fields(Window)}
READ = "select state from zipchat_budget where key_hash = ?"
WRITE = """
    insert into zipchat_budget (key_hash, state) values (?, ?)
    on conflict (key_hash) do update set state = excluded.state
"""
POSTGRESQL = ("postgresql://", "postgres://")
# The server's time is read once the row is locked: the last `select` runs after the one inside.
POSTGRESQL_BEGIN = """
    begin isolation level read committed;
    insert into zipchat_budget (key_hash, state) values (%(key)s, '') on conflict do nothing;
    with locked as materialized (
        select state from zipchat_budget where key_hash = %(key)s for update
    )
    select state, extract(epoch from clock_timestamp())::float8 from locked
"""
POSTGRESQL_COMMIT = "update zipchat_budget set state = %s where key_hash = %s; commit"
# `create table if not exists` fails if two processes do it at once, and also for a user who may not
# create tables.
CREATING = 0x21C4A7  # the key of the advisory lock for that; any number would do
POSTGRESQL_CREATE = f"begin; select pg_advisory_xact_lock({CREATING}); {SCHEMA}; commit"
# A process that is suspended in a transaction must not stop all others. Nothing waits for the disk:
# after a crash, the next response's headers correct the row.
POSTGRESQL_SESSION = """
    set synchronous_commit = off;
    set lock_timeout = '30s';
    set idle_in_transaction_session_timeout = '10s'
"""
# A network that swallows packets must not hold up a run for long.
POSTGRESQL_OPTIONS = {
    "application_name": "zipchat_dagster",
    "connect_timeout": "10",
    "tcp_user_timeout": "10000",  # milliseconds
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


class Store(Protocol):
    """A row that processes share."""

    def change(self, change: Change[T]) -> T:
        """Call `change` with the window, in a transaction that stores what it makes of it.

        Raises:
            BudgetDownError: the connection is lost, and what was changed probably with it. The next
                call connects again.
            SettingError: the store cannot be used.
        """

    def close(self) -> None:
        """Close the file or the connection."""


def open_store(database: Path | str | None, key_hash: str, clock: Callable[[], float]) -> Store:
    """The store at a checked path or `postgresql://` address; None: in this process's memory.

    Raises:
        SettingError: it cannot be used.
        BudgetDownError: PostgreSQL does not answer.
    """
    if isinstance(database, str) and database.startswith(POSTGRESQL):
        return PostgresqlStore(database, key_hash, clock)
    return SqliteStore(Path(database) if database else None, key_hash, clock)


class SqliteStore:
    """A file for all processes on this machine. Its clock is the machine's."""

    def __init__(self, path: Path | None, key_hash: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._key_hash = key_hash
        self._clock = clock
        self._connection = self._open()

    def change(self, change: Change[T]) -> T:
        try:
            with self._connection as connection:  # commits, or rolls back
                connection.execute("begin immediate")
                row = connection.execute(READ, (self._key_hash,)).fetchone()
                old = row[0] if row else ""
                window = _load(old)
                result = change(window, self._clock(), 0.0)
                new = _dump(window)
                if new != old:
                    connection.execute(WRITE, (self._key_hash, new))
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        return result

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(0o600)  # SQLite's other files get the mode of this one
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

    def _unusable(self, error: Exception) -> SettingError:
        return SettingError(
            f"the budget file {self._path} cannot be used ({error}). If it is damaged, delete it:"
            " a new one is created."
        )


class PostgresqlStore:
    """A PostgreSQL server for processes on several machines, whose clock is the server's.

    The password comes from where libpq looks for it: PGPASSWORD or ~/.pgpass. The connection stays
    open between transactions.
    """

    def __init__(self, url: str, key_hash: str, clock: Callable[[], float]) -> None:
        self._key_hash = key_hash
        self._clock = clock
        try:
            self._psycopg2 = importlib.import_module("psycopg2")
        except ModuleNotFoundError:
            raise SettingError(
                "the budget is in PostgreSQL, and its driver is missing: pip install"
                " 'zipchat-dagster[lake]'."
            ) from None
        try:
            given = self._psycopg2.extensions.parse_dsn(url)
            self._options = {**POSTGRESQL_OPTIONS, **given}
            self._connection = self._connect()
        except self._psycopg2.Error as error:
            unusable = _unusable(error)
            if isinstance(error, self._psycopg2.OperationalError) and _may_come_back(error):
                raise BudgetDownError(str(unusable)) from None
            raise unusable from None
        self._shift: float | None = None

    def change(self, change: Change[T]) -> T:
        try:
            return self._change(change)
        except (self._psycopg2.OperationalError, self._psycopg2.InterfaceError) as error:
            self.close()
            raise BudgetDownError(
                f"the budget's database does not respond ({_reason(error)})."
            ) from None
        except self._psycopg2.Error as error:
            self.close()
            raise _unusable(error) from None
        except BaseException:
            self.close()  # rolls back
            raise

    def close(self) -> None:
        self._connection.close()

    def _change(self, change: Change[T]) -> T:
        if self._connection.closed:
            self._connection = self._connect()
        with self._connection.cursor() as cursor:
            asked_at = self._clock()
            cursor.execute(POSTGRESQL_BEGIN, {"key": self._key_hash})
            state, now = cursor.fetchone()
            shift = self._measured(now - self._clock(), now - asked_at)
            window = _load(state)
            result = change(window, now, shift)
            new = _dump(window)
            if new != state:
                cursor.execute(POSTGRESQL_COMMIT, (new, self._key_hash))
            else:
                cursor.execute("commit")
        return result

    def _measured(self, low: float, high: float) -> float:
        """The shift is between these two. The higher one is the safe one to start from: a window
        then ends too late. It includes the time spent waiting for the row, so what was found
        earlier is kept where it fits."""
        known = high if self._shift is None else self._shift
        self._shift = min(max(known, low), high)
        return self._shift

    def _connect(self) -> Any:
        connection = self._psycopg2.connect(**self._options)
        connection.autocommit = True  # transactions are begun and committed in the statements
        with connection.cursor() as cursor:
            cursor.execute(POSTGRESQL_SESSION)
            cursor.execute("select to_regclass('zipchat_budget') is null")
            if cursor.fetchone()[0]:
                cursor.execute(POSTGRESQL_CREATE)
        return connection


def _unusable(error: Exception) -> SettingError:
    return SettingError(
        f"the budget's database in PostgreSQL cannot be used ({_reason(error)}). Check its address,"
        " the user's rights, and the password in PGPASSWORD or ~/.pgpass."
    )


def _may_come_back(error: Exception) -> bool:
    """Whether nobody answers, or the server is being restarted. It refuses a log-in as FATAL."""
    passing = r"starting up|shutting down|recovery mode|too many"
    return "FATAL" not in str(error) or re.search(passing, str(error)) is not None


def _reason(error: Exception) -> str:
    """The first line of what PostgreSQL or its driver says. It holds no password."""
    return next(iter(str(error).splitlines()), type(error).__name__).strip().rstrip(".")


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


def _dump(window: Window) -> str:
    return json.dumps(vars(window))
