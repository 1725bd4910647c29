"""The tables in one DuckDB file, opened for one short piece of work at a time.

While DuckDB has a file open, no other process can open it, not even to read. So each transaction
waits for its turn (`lock.py`), opens the file, does its work and closes it again, also after an
error. Nothing that calls the API may run inside one.
"""

from __future__ import annotations

import errno
import glob
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from zipchat_dagster.warehouse.engine import (
    LastingError,
    WarehouseError,
    first_line,
    in_memory,
    quoted,
)
from zipchat_dagster.warehouse.lock import InUseError, locked
from zipchat_dagster.warehouse.search import files_with

# At a checkpoint DuckDB merges small row groups in memory up to this many rows (a multiple of
# 2,048). With its default of 122,880, messages of 1 KB needed 0.7 GB for that. With this they need
# less than 0.1 GB, however long the table is.
ROW_GROUP_SIZE: Final = 4096
# The log (`<file>.wal`) is written into the file when it is this long. Each opening reads it again:
# with 4 MB that took twice as long, with 100 KB the writing did.
LOG_LIMIT: Final = "1MB"
# Compacting writes the whole file once. It is worth that if so much of the file is unused.
WORTH_COMPACTING: Final = 0.2
# What DuckDB raises if the file cannot be read or written. There are no conflicts within a file.
UNUSABLE: Final = (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)
# What its messages contain if another program has the file open, and if it is no database of ours.
HELD: Final = ("Could not set lock", "used by another process")
REFUSED: Final = ("not a valid DuckDB database", "Is a directory", "Permission denied")
PLACE: Final = (
    "Set ZIPCHAT_DATABASE to a DuckDB file, or to one that does not exist yet, in a folder in which"
    " this user may write."
)
# A program that takes no turns, such as somebody's notebook, may have the file open for a moment.
HELD_TIMEOUT = 120.0  # seconds
LOOK_FOR_LOCK: Final = 0.2  # seconds between two tries
# New files are for their owner only, whatever the umask: they hold what customers wrote. Existing
# ones keep their mode, and the log gets that of its file.
OWNER_ONLY: Final = 0o600


class File:
    """The engine for one DuckDB file; it and its folder are created if missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path.with_name(f"{path.name}.wal")
        self._keeps_log = False
        self._duckdb = self._start()

    @contextmanager
    def connection(self, *, read_only: bool, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the file, which is locked until the block ends."""
        with self._locked(purpose), self._attached(read_only) as connection:
            yield connection

    @contextmanager
    def attached_to(self, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
        """Attach the file to another connection. It is locked until the block ends."""
        with self._locked("move"):
            self._attach(connection, "source", "read_only")
            try:
                yield "source"
            finally:
                with suppress(duckdb.Error):  # the connection may be lost
                    connection.execute("detach source")

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing: how a file stores tables is given each time it is opened."""

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit. Nobody else can have written."""
        connection.execute("commit")

    @contextmanager
    def small_transactions(self) -> Iterator[None]:
        """Each is still committed at its end, but to the log beside the file, which the next
        opening reads. The log is written into the file now and then and at the end of the block,
        because each time that writes some MB, however little has changed.
        """
        self._keeps_log = True
        try:
            yield
        finally:
            self._keeps_log = False
            with self.connection(read_only=False, purpose="") as connection:
                connection.execute("checkpoint warehouse")

    def maintain(self, *, dry_run: bool) -> dict[str, int]:
        """Copy the tables into a fresh file, if a fifth of this one is unused, and put it in this
        one's place. Everybody waits for that long, and the disk must have room for both."""
        with self._locked("maintain_job"):
            return self._compact(math.inf if dry_run else WORTH_COMPACTING)

    def scrub(self) -> dict[str, int]:
        """Compact the file whatever is unused: DuckDB does not overwrite the blocks of deleted rows
        until it needs them. Also delete what killed processes left beside it."""
        with self._locked("scrub"):
            for path in (*self._unfinished(), *Path(f"{self.path}.tmp").glob("*")):
                with suppress(OSError):  # on Windows, if another program has it open
                    path.unlink(missing_ok=True)
            return self._compact(0)

    def _compact(self, least: float) -> dict[str, int]:
        """Put a fresh copy of the tables in the file's place if at least this share is unused."""
        with self._attached(read_only=False) as connection:
            connection.execute("checkpoint warehouse")  # nothing is left in <file>.wal
            size, free = connection.execute(
                "select block_size * total_blocks, block_size * free_blocks"
                " from pragma_database_size() where database_name = 'warehouse'"
            ).fetchall()[0]
            is_copied = free >= least * size
            fresh, _ = unfinished = self._unfinished()
            if is_copied:
                for path in unfinished:
                    path.unlink(missing_ok=True)  # left by a killed run
                _copy_tables(connection, fresh)
        before = self.path.stat().st_size
        if is_copied:
            shutil.copymode(self.path, fresh)
            fresh.replace(self.path)
        return {
            "bytes_before": before,
            "bytes_unused": free,
            "bytes_after": self.path.stat().st_size,
        }

    def _unfinished(self) -> tuple[Path, Path]:
        """The fresh file that replaces this one, and its log."""
        fresh = self.path.with_name(f"{self.path.name}.unfinished")
        return fresh, fresh.with_name(f"{fresh.name}.wal")

    def places_with(self, words: Sequence[str]) -> list[str]:
        """The names of the file, of its log, and of what is beside it, if a word is there."""
        with self._locked("search"):
            paths = self.path.parent.glob(f"{glob.escape(self.path.name)}*")
            return [str(path) for path in files_with(words, paths)]

    def publish(self, target: Path) -> int:
        """Copy the file. A program that has the previous copy open keeps reading that one."""
        if target.resolve() == self.path.resolve():
            raise WarehouseError(f"{target} is the database itself; a copy needs another place.")
        unfinished = target.with_name(f"{target.name}.unfinished")
        with self._locked("publish_job"):
            with self._attached(read_only=False) as connection:
                connection.execute("checkpoint warehouse")  # nothing is left in <file>.wal
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished.unlink(missing_ok=True)  # left by a killed run
                mode = (target if target.exists() else self.path).stat().st_mode
                unfinished.touch(OWNER_ONLY)
                shutil.copyfile(self.path, unfinished)
                unfinished.chmod(mode & 0o444)
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
        with ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path, purpose))
            except InUseError as error:
                raise WarehouseError(str(error)) from None
            except OSError as error:
                kind = WarehouseError if error.errno == errno.ENOSPC else LastingError
                raise kind(
                    f"{self.path}: its folder cannot be written to"
                    f" ({error.strerror or type(error).__name__}). {PLACE}"
                ) from None
            yield

    @contextmanager
    def _attached(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            options = "read_only" if read_only else f"row_group_size {ROW_GROUP_SIZE}"
            # By default a catalog is named after its file, and if there is both a catalog and a
            # schema called zipchat, DuckDB refuses `zipchat.users` as ambiguous.
            self._attach(self._duckdb, "warehouse", options)
            self._duckdb.execute("use warehouse")
            yield self._duckdb
            with suppress(FileNotFoundError):
                self._log.chmod(self.path.stat().st_mode & 0o777)
            self._duckdb.execute("use memory")
            at_the_end = "disable" if self._keeps_log else "enable"
            self._duckdb.execute(f"pragma {at_the_end}_checkpoint_on_shutdown")
            self._duckdb.execute("detach warehouse")
        except BaseException as error:
            # Closing rolls back and releases the file, whatever state the connection is in.
            self._duckdb.close()
            self._duckdb = self._start()
            if isinstance(error, UNUSABLE):
                raise self._unusable(error) from None
            raise

    def _attach(self, connection: duckdb.DuckDBPyConnection, name: str, options: str) -> None:
        is_new = not self.path.exists()
        # The type, because DuckDB would look for an extension to open other files with.
        attach = f"attach {quoted(str(self.path))} as {name} (type duckdb, {options})"
        until = time.monotonic() + HELD_TIMEOUT
        while True:
            try:
                connection.execute(attach)
                break
            except duckdb.IOException as error:
                is_held = any(words in str(error) for words in HELD)
                if is_held and time.monotonic() < until:
                    time.sleep(LOOK_FOR_LOCK)
                    continue
                # On a full disk, DuckDB leaves a file that it cannot open any more.
                if is_new and not is_held:
                    with suppress(OSError):
                        self.path.unlink(missing_ok=True)
                raise self._unopened(error, is_held=is_held) from None
        if is_new:
            self.path.chmod(OWNER_ONLY)

    def _unopened(self, error: duckdb.Error, *, is_held: bool) -> WarehouseError:
        problem = f"{self.path} cannot be opened ({first_line(error)})."
        if is_held:
            return WarehouseError(
                f"{problem} If another program has it open (a notebook, the duckdb command),"
                " close it there."
            )
        if any(words in str(error) for words in REFUSED):
            return LastingError(f"{problem} {PLACE}")
        return self._unusable(error)

    def _unusable(self, error: duckdb.Error) -> WarehouseError:
        return WarehouseError(
            f"{self.path} cannot be read or written ({first_line(error)}). Everything committed"
            " before is kept. If the disk is full, free some space and run again. If the file is"
            " damaged, restore a backup, or move the file away and run a backfill."
        )

    def _start(self) -> duckdb.DuckDBPyConnection:
        return in_memory(f"{self.path}.tmp", checkpoint_threshold=LOG_LIMIT)


def _copy_tables(connection: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    connection.execute(f"attach {quoted(str(fresh))} as fresh (row_group_size {ROW_GROUP_SIZE})")
    fresh.chmod(OWNER_ONLY)
    connection.execute("copy from database warehouse to fresh")
    connection.execute("checkpoint fresh")
    connection.execute("detach fresh")
