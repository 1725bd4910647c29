"""What `Warehouse` needs from the place where the tables are: a file (`file.py`) or a lake
(`lake.py`). All SQL is the same for both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

import duckdb

# For DuckDB's buffers; what does not fit is spilled to a temporary folder. The metrics of a year
# with 4 million messages need a quarter of it. DuckDB's default is 80 % of the machine's memory,
# and several runs may be at work at once.
MEMORY_LIMIT: Final = "512MB"

LAKE: Final = "ducklake:postgres:"
MOTHERDUCK: Final = "md:"

# The setting that names what is being moved into a database, until all of it is there.
MOVING: Final = "moving_from"


class WarehouseError(Exception):
    """The database cannot be used. The message names it and says what to do."""


class LastingError(WarehouseError):
    """The same, until somebody does something about it: trying again later is no use."""


class ConflictError(Exception):
    """A commit of somebody who takes no turns came first, so ours was rolled back."""


class Engine(Protocol):
    """Where the tables are, and how programs share them.

    Attributes:
        path: the database file. A lake has none: then a path on this machine beside which to put
            what belongs to it, such as the report.
    """

    path: Path

    def connection(
        self, *, read_only: bool, purpose: str
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection whose current database has the tables. A writer first waits for its turn,
        which lasts until the block ends. An error in the block rolls back.

        Raises:
            WarehouseError: the database cannot be used now.
        """

    def attached_to(self, connection: duckdb.DuckDBPyConnection) -> AbstractContextManager[str]:
        """Attach the tables, read-only, to the connection of another engine, for the block. Nobody
        who takes turns writes to them meanwhile. Returns the name of their catalog there.

        Raises:
            WarehouseError: the database cannot be used now.
        """

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Set up how the tables are stored, if they are new. Runs in the transaction that creates
        them."""

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit the open transaction.

        Raises:
            ConflictError: nothing was committed; the transaction can be repeated.
        """

    def small_transactions(self) -> AbstractContextManager[None]:
        """See `Warehouse.small_transactions`."""

    def maintain(self, *, dry_run: bool) -> dict[str, int]:
        """See `Warehouse.maintain`."""

    def scrub(self) -> dict[str, int]:
        """Physically remove what was deleted; see `Warehouse.scrub`."""

    def places_with(self, words: Sequence[str]) -> list[str]:
        """See `Warehouse.places_with`."""

    def publish(self, target: Path) -> int | None:
        """See `Warehouse.publish`."""


def is_shared(database: str) -> bool:
    """Whether this names a lake or a MotherDuck database rather than a file."""
    return database.startswith((LAKE, MOTHERDUCK))


def has_password(database: str) -> bool:
    """Whether the name of a lake or a MotherDuck database contains a secret, which every message
    about it would show."""
    pattern = r"(password|token)\s*=|://.*:.*@"
    return bool(re.search(pattern, unquote(database), re.IGNORECASE))


def in_memory(temporary: str, **options: str) -> duckdb.DuckDBPyConnection:
    """An empty database in memory, to which the tables are attached. Starting DuckDB for each
    transaction would take most of its time."""
    # One thread: with more, DuckDB 1.5.5 sometimes fails inside a window function over few rows and
    # is unusable afterwards (github.com/duckdb/duckdb/issues/25713; 2 of 1,000 here).
    connection = duckdb.connect(
        config={
            "threads": 1,
            # A join with up to so many conversations reads only the row groups that hold them. An
            # hourly run over ten million messages spends 0.4 s on its facts instead of 1.3 s.
            "dynamic_or_filter_threshold": 1000,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": temporary,
            **options,
        }
    )
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")  # a run's output is not a terminal
    return connection


def first_line(error: object) -> str:
    """What an error says, without a full stop or the statement that DuckDB quotes after it."""
    return str(error).strip().splitlines()[0].rstrip(".")


def quoted(text: str) -> str:
    """A string literal of SQL, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"
