"""One DuckDB file, opened for one short transaction at a time.

DuckDB locks its file against every other process, readers too, while it is open. So each
transaction waits for its turn first (`lock.py`), opens, works, closes, and lets go, also on error.
Nothing that calls the API may run inside.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from zipchat_dagster.warehouse.lock import InUseError, locked
from zipchat_dagster.warehouse.tables import sql

# When DuckDB closes the file it puts small row groups together, in memory, up to this many rows (a
# multiple of 2,048). With its default of 122,880, messages of 1 KB took 0.7 GB for that; with this
# less than 0.1 GB, however long the table.
ROW_GROUP_SIZE: Final = 4096
# Of DuckDB's buffers; what needs more goes to a folder beside the file. Metrics of a year with 4
# million messages need a quarter of it. Its default is 80 % of the machine, for each run at once.
MEMORY_LIMIT: Final = "512MB"
# What a log (`<file>.wal`) holds at most before it goes into the file; each opening reads it again.
LOG_LIMIT: Final = "1MB"


class WarehouseError(Exception):
    """The database file cannot be used. The message says which and what to do."""


class Transaction:
    """An open transaction. All of it is committed when the `with` block ends, or none of it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(
        self, name: str, frames: Mapping[str, pd.DataFrame] | None = None, /, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` with bound parameters and with frames in place of tables."""
        return self._run(name, frames, parameters).fetchall()

    def query(
        self, name: str, frames: Mapping[str, pd.DataFrame] | None = None, /, **parameters: Any
    ) -> pd.DataFrame:
        """Like `execute`, with the result as a frame; times are in UTC."""
        return self._run(name, frames, parameters).df()

    def _run(
        self, name: str, frames: Mapping[str, pd.DataFrame] | None, parameters: Mapping[str, Any]
    ) -> duckdb.DuckDBPyConnection:
        for table, frame in (frames or {}).items():
            self._connection.register(table, frame)
        return self._connection.execute(sql(name), dict(parameters))


class Warehouse:
    """The tables of zipchat_dagster in one DuckDB file. For one thread at a time.

    Args:
        path: the file; it and its folder are made when missing.
        timezone: the IANA name of the zone whose days the partitions are. When it differs from
            the one that the file was written with, `partition_date` is set anew throughout.
    """

    def __init__(self, path: Path, *, timezone: str = "UTC") -> None:
        self.path = path
        self.timezone = str(ZoneInfo(timezone))
        self._is_ready = False
        self._keeps_log = False
        self._duckdb = _duckdb(path)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction over the tables, which exist from the first one on.

        Raises:
            WarehouseError: the file is locked for too long, damaged or not to be written.
        """
        with self.connection() as connection:
            connection.execute("begin transaction")
            if not self._is_ready:
                self._prepare(connection)
            yield Transaction(connection)  # on an error, closing rolls back
            connection.execute("commit")
            self._is_ready = True

    @contextmanager
    def connection(
        self, *, read_only: bool = False, purpose: str = ""
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """An open connection to the file while the lock beside it is held. Times are in UTC.

        Args:
            purpose: what those who wait for the lock are told; the program's name unless given.
        """
        with self._locked(purpose), self._attached(read_only) as connection:
            yield connection

    @contextmanager
    def small_transactions(self) -> Iterator[None]:
        """Where many follow each other: what they write goes into the file now and then, and at the
        end, instead of each time, which takes some MB of writing however little it is. They are
        committed all the same, to the log beside the file, which the next opening reads."""
        self._keeps_log = True
        try:
            yield
        finally:
            self._keeps_log = False
            with self.connection() as connection:
                connection.execute("checkpoint warehouse")

    def copy_to(self, target: Path) -> int:
        """Put a copy of the file, as it is now, in the place of `target`. Returns its bytes.

        Whoever has the earlier copy open keeps it: the new one is another file of the same name.
        """
        if target.resolve() == self.path.resolve():
            raise WarehouseError(f"{target} is the database itself; a copy needs another place.")
        with self.transaction():
            pass  # the tables exist, also when nothing was ever stored
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.unfinished")
        with self._locked("publish_job"):
            with self._attached(read_only=False) as connection:
                connection.execute("checkpoint warehouse")  # nothing is left in <file>.wal
            try:
                unfinished.unlink(missing_ok=True)  # of a run that was killed
                shutil.copyfile(self.path, unfinished)
                unfinished.chmod(self.path.stat().st_mode & 0o444)
                size = unfinished.stat().st_size
                unfinished.replace(target)
            except OSError as error:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise WarehouseError(
                    f"{target} could not be written ({error.strerror or type(error).__name__})."
                    " What was there before is still there."
                ) from None
        return size

    @contextmanager
    def _locked(self, purpose: str) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.path, purpose):
                yield
        except InUseError as error:
            raise WarehouseError(str(error)) from None

    @contextmanager
    def _attached(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            self._attach(read_only)
            yield self._duckdb
            self._duckdb.execute("use memory")
            at_the_end = "disable" if self._keeps_log else "enable"
            self._duckdb.execute(f"pragma {at_the_end}_checkpoint_on_shutdown")
            self._duckdb.execute("detach warehouse")
        except BaseException:
            # Whatever state it is in: closing lets the file go, and nothing of it is kept.
            self._duckdb.close()
            self._duckdb = _duckdb(self.path)
            raise

    def _attach(self, read_only: bool) -> None:
        # Attached under a name of its own: a file called zipchat.duckdb would be a catalog of the
        # schema's name, and DuckDB refuses `zipchat.users` as ambiguous then.
        path = str(self.path).replace("'", "''")
        options = "read_only" if read_only else f"row_group_size {ROW_GROUP_SIZE}"
        try:
            self._duckdb.execute(f"attach '{path}' as warehouse ({options})")
        except duckdb.IOException as error:
            what = str(error).splitlines()[0]
            raise WarehouseError(
                f"{self.path} cannot be opened ({what}). If another program has"
                " it open (a notebook, the duckdb command), close it there."
            ) from None
        self._duckdb.execute("use warehouse")

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(sql("schema"))
        stored = connection.execute(sql("stored_setting"), {"name": "timezone"}).fetchone()
        zone = {"timezone": self.timezone}
        if stored != (self.timezone,):
            for table in ("raw_conversations", "raw_messages"):
                connection.execute(sql("redate").format(table=table), zone)
            setting = {"name": "timezone", "value": self.timezone}
            connection.execute(sql("store_setting"), setting)


def _duckdb(path: Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory, to which the file is attached for each transaction: starting
    DuckDB anew for each would take most of their time."""
    # One thread: with more, DuckDB 1.5.5 now and then fails inside a window function over few rows
    # and is unusable afterwards (github.com/duckdb/duckdb/issues/25713; 2 of 1,000 here).
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": f"{path}.tmp",
            "checkpoint_threshold": LOG_LIMIT,
        }
    )
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")  # a run's output is no terminal
    return connection
