"""One DuckDB file, opened for one short transaction at a time.

While DuckDB has a file open, no other process can open it, not even to read. So each transaction
waits for its turn (`lock.py`), opens the file, does its work and closes it again, also after an
error. Nothing that calls the API may run inside one.
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
from zipchat_dagster.warehouse.migrations import NewerSchemaError, prepare_schema
from zipchat_dagster.warehouse.tables import sql

# At a checkpoint DuckDB merges small row groups in memory up to this many rows (a multiple of
# 2,048). With its default of 122,880, messages of 1 KB needed 0.7 GB for that. With this they need
# less than 0.1 GB, however long the table is.
ROW_GROUP_SIZE: Final = 4096
# For DuckDB's buffers; what does not fit is spilled to a folder beside the file. The metrics of a
# year with 4 million messages need a quarter of it. DuckDB's default is 80 % of the machine's
# memory, and several runs may be at work at once.
MEMORY_LIMIT: Final = "512MB"
# The log (`<file>.wal`) is written into the file when it is this long. Each opening reads it again:
# with 4 MB that took twice as long, with 100 KB the writing did.
LOG_LIMIT: Final = "1MB"


class WarehouseError(Exception):
    """The database file cannot be used. The message names it and says what to do."""


class Transaction:
    """An open transaction. The end of the `with` block commits all of it; an error, nothing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(
        self, name: str, frames: Mapping[str, pd.DataFrame] | None = None, /, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` with bound parameters, and with frames that it reads as tables."""
        return self._run(name, frames, parameters).fetchall()

    def query(
        self, name: str, frames: Mapping[str, pd.DataFrame] | None = None, /, **parameters: Any
    ) -> pd.DataFrame:
        """Like `execute`, but returns a frame. Times are in UTC."""
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
        path: the file; it and its folder are created if missing.
        timezone: the IANA name of the zone whose days are the partitions. If the file was written
            with another one, the first transaction recomputes every `partition_date`.
    """

    def __init__(self, path: Path, *, timezone: str = "UTC") -> None:
        self.path = path
        self.timezone = str(ZoneInfo(timezone))
        self._is_ready = False
        self._keeps_log = False
        self._duckdb = _duckdb(path)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction. The first one creates the tables if they are missing, and migrates those
        of an older version.

        Raises:
            WarehouseError: the file stayed locked for too long, is damaged, cannot be written or
                was written by a newer version.
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
        """A connection to the file, which is locked until the block ends. Times are in UTC.

        Args:
            purpose: what others see who wait for the lock; by default the program's name.
        """
        with self._locked(purpose), self._attached(read_only) as connection:
            yield connection

    @contextmanager
    def small_transactions(self) -> Iterator[None]:
        """For many transactions in a row. Each is still committed at its end, but to the log beside
        the file, which the next opening reads. The log is written into the file now and then and
        at the end of the block, because each time that writes some MB, however little has changed.
        """
        self._keeps_log = True
        try:
            yield
        finally:
            self._keeps_log = False
            with self.connection() as connection:
                connection.execute("checkpoint warehouse")

    def copy_to(self, target: Path) -> int:
        """Replace `target` with a copy of the file as it is now. Returns the copy's size in bytes.

        A program that has the previous copy open keeps reading that one.

        Raises:
            WarehouseError: `target` is the database itself or cannot be written.
        """
        if target.resolve() == self.path.resolve():
            raise WarehouseError(f"{target} is the database itself; a copy needs another place.")
        with self.transaction():
            pass  # creates the tables, if nothing was ever stored
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.unfinished")
        with self._locked("publish_job"):
            with self._attached(read_only=False) as connection:
                connection.execute("checkpoint warehouse")  # nothing is left in <file>.wal
            try:
                unfinished.unlink(missing_ok=True)  # left by a killed run
                shutil.copyfile(self.path, unfinished)
                unfinished.chmod(self.path.stat().st_mode & 0o444)
                size = unfinished.stat().st_size
                unfinished.replace(target)
            except OSError as error:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise WarehouseError(
                    f"{target} could not be written ({error.strerror or type(error).__name__})."
                    " The previous copy is unchanged."
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
            # Closing rolls back and releases the file, whatever state the connection is in.
            self._duckdb.close()
            self._duckdb = _duckdb(self.path)
            raise

    def _attach(self, read_only: bool) -> None:
        # By default a catalog is named after its file, and if there is both a catalog and a schema
        # called zipchat, DuckDB refuses `zipchat.users` as ambiguous.
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
        try:
            prepare_schema(connection)
        except NewerSchemaError as error:
            raise WarehouseError(str(error)) from None
        stored = connection.execute(sql("stored_setting"), {"name": "timezone"}).fetchone()
        zone = {"timezone": self.timezone}
        if stored != (self.timezone,):
            for table in ("raw_conversations", "raw_messages"):
                connection.execute(sql("redate").format(table=table), zone)
            setting = {"name": "timezone", "value": self.timezone}
            connection.execute(sql("store_setting"), setting)


def _duckdb(path: Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory, to which the file is attached for each transaction. Starting
    DuckDB for each would take most of its time."""
    # One thread: with more, DuckDB 1.5.5 sometimes fails inside a window function over few rows and
    # is unusable afterwards (github.com/duckdb/duckdb/issues/25713; 2 of 1,000 here).
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": f"{path}.tmp",
            "checkpoint_threshold": LOG_LIMIT,
        }
    )
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")  # a run's output is not a terminal
    return connection
