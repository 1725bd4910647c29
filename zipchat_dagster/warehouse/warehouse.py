"""Short transactions on the tables, in one DuckDB file or in a lake (`engine.py`).

Whoever writes waits for its turn first. Nothing that calls the API may run inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from zipchat_dagster.warehouse.engine import (
    LAKE,
    MOTHERDUCK,
    MOVING,
    ConflictError,
    Engine,
    WarehouseError,
)
from zipchat_dagster.warehouse.file import File
from zipchat_dagster.warehouse.lake import Lake, MotherDuck
from zipchat_dagster.warehouse.migrations import prepare_schema
from zipchat_dagster.warehouse.privacy import KEEP, Privacy
from zipchat_dagster.warehouse.tables import sql

T = TypeVar("T")

REPEATS: Final = 5  # of a transaction that others' commits came before
SCRUB_DUE: Final = "scrub_due"  # the setting that `Transaction.needs_scrub` stores


class Transaction:
    """An open transaction. The end of the `with` block commits all of it; an error, nothing.

    Attributes:
        privacy: what may be stored of people.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, privacy: Privacy, timezone: str
    ) -> None:
        self.privacy = privacy
        self._connection = connection
        self._timezone = timezone
        self._done: list[tuple[Callable[[], Any], Any]] = []

    def execute(
        self,
        name: str,
        frames: Mapping[str, pd.DataFrame] | None = None,
        names: Mapping[str, str] | None = None,
        /,
        **parameters: Any,
    ) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` with bound parameters, with frames that it reads as tables, and with
        names of tables and columns in place of `{…}`. `$timezone` is the warehouse's."""
        return self._answer(lambda: self._run(name, frames, names, parameters).fetchall())

    def query(
        self,
        name: str,
        frames: Mapping[str, pd.DataFrame] | None = None,
        names: Mapping[str, str] | None = None,
        /,
        **parameters: Any,
    ) -> pd.DataFrame:
        """Like `execute`, but returns a frame. Times are in UTC."""
        return self._answer(lambda: self._run(name, frames, names, parameters).df())

    def needs_scrub(self) -> None:
        """Note that this transaction deletes or overwrites something personal, which is still in
        the files afterwards: see `Warehouse.scrub`."""
        self.execute("store_scrub_due", name=SCRUB_DUE, now=datetime.now(UTC).isoformat())

    def repeat(self) -> bool:
        """Run the same statements again. False if one of them answers otherwise than before: what
        the caller did after it may then be wrong."""
        for run, answer in self._done:
            again = run()
            is_same = answer.equals(again) if isinstance(answer, pd.DataFrame) else answer == again
            if not is_same:
                return False
        return True

    def _answer(self, run: Callable[[], T]) -> T:
        answer = run()
        self._done.append((run, answer))
        return answer

    def _run(
        self,
        name: str,
        frames: Mapping[str, pd.DataFrame] | None,
        names: Mapping[str, str] | None,
        parameters: Mapping[str, Any],
    ) -> duckdb.DuckDBPyConnection:
        for table, frame in (frames or {}).items():
            self._connection.register(table, frame)
        statement = sql(name).format(**names) if names else sql(name)
        bound = dict(parameters)
        if "$timezone" in statement:
            bound["timezone"] = self._timezone
        return self._connection.execute(statement, bound)


class Warehouse:
    """The tables of zipchat_dagster. For one thread at a time.

    Args:
        database: the path of a DuckDB file, `ducklake:postgres:…` or `md:…`, as in
            ZIPCHAT_DATABASE.
        data_path: where a lake keeps its data, as in ZIPCHAT_DATA_PATH.
        timezone: the IANA name of the zone whose days are the partitions. If the tables were
            written with another one, the first transaction recomputes every `partition_date`.
        privacy: what may be stored of people.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        data_path: str = "",
        timezone: str = "UTC",
        privacy: Privacy = KEEP,
    ) -> None:
        self.timezone = str(ZoneInfo(timezone))
        self.privacy = privacy
        self._engine = open_engine(str(database), data_path)
        self._is_ready = False

    @property
    def path(self) -> Path:
        """The file; see `Engine.path`."""
        return self._engine.path

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction. Before the first one, the tables are created if they are missing, and
        migrated if an older version wrote them.

        If a writer who takes no turns (somebody's notebook, on a lake) commits in between, the
        statements are repeated. If they then answer otherwise, nothing is stored.

        Raises:
            WarehouseError: the database stayed in use for too long, is damaged, cannot be written
                or was written by a newer version, or another writer came in between.
        """
        with self.connection() as connection:
            if not self._is_ready:
                self._prepare(connection)
            connection.execute("begin transaction")
            transaction = self._transaction(connection)
            yield transaction  # on an error, leaving the connection rolls back
            self._commit(connection, transaction.repeat)

    @contextmanager
    def reading(self, *, purpose: str = "") -> Iterator[Transaction]:
        """A transaction that only reads, and leaves the tables as they are even if this is the
        first one.

        Args:
            purpose: as for `connection`.
        """
        with self.connection(read_only=True, purpose=purpose) as connection:
            yield self._transaction(connection)

    def connection(
        self, *, read_only: bool = False, purpose: str = ""
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection for a short piece of work. Times are in UTC.

        Others who write wait until the block ends, and with a file also those who read. A reader of
        a lake neither waits nor keeps others waiting; it sees the tables as they are at its start.

        Args:
            purpose: what others see who wait; by default the program's name.
        """
        return self._engine.connection(read_only=read_only, purpose=purpose)

    def small_transactions(self) -> AbstractContextManager[None]:
        """For many transactions in a row: a file is then written less often. Each transaction is
        still committed at its end."""
        return self._engine.small_transactions()

    def maintain(self, *, dry_run: bool = False) -> dict[str, int]:
        """Free what is no longer used. Returns counts by name.

        Args:
            dry_run: whether to only count.
        """
        with self.transaction():
            pass  # creates the tables, if nothing was ever stored
        return self._engine.maintain(dry_run=dry_run)

    def scrub(self, replace_copies: Callable[[], None] = lambda: None) -> dict[str, int]:
        """If a transaction has asked for it (`Transaction.needs_scrub`), physically remove all that
        was deleted or overwritten: no file of the database and no row of a lake's catalog holds it
        afterwards. Returns counts by name.

        Everybody waits while a file is copied, and the disk must have room for two of it. A lake
        can no longer be read as it was at an earlier time. Backups are other files.

        Args:
            replace_copies: writes the published copy and the export again. If this is killed before
                that has returned, the scrub is still due.
        """
        with self.transaction() as transaction:
            due = transaction.execute("stored_setting", name=SCRUB_DUE)
        if not due:
            return {}
        counts = self._engine.scrub()
        replace_copies()
        with self.transaction() as transaction:  # unless more was deleted meanwhile
            transaction.execute("clear_setting", name=SCRUB_DUE, value=due[0][0])
        return counts

    def places_with(self, words: Sequence[str]) -> list[str]:
        """Where one of the words is, apart from the rows of the tables: the names of files, or of a
        lake's catalog. What was deleted and not scrubbed is found, too, unless it is compressed."""
        return self._engine.places_with(words)

    def publish(self, target: Path) -> int | None:
        """Replace `target` with a copy of the file as it is now. Returns its size in bytes, or None
        for a lake: its readers wait for nobody and need no copy.

        Raises:
            WarehouseError: `target` is the database itself or cannot be written.
        """
        with self.transaction():
            pass  # creates the tables, if nothing was ever stored
        return self._engine.publish(target)

    def _transaction(self, connection: duckdb.DuckDBPyConnection) -> Transaction:
        return Transaction(connection, privacy=self.privacy, timezone=self.timezone)

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("begin transaction")
        prepare_schema(connection)
        for (origin,) in connection.execute(sql("stored_setting"), {"name": MOVING}).fetchall():
            raise WarehouseError(
                f"Only a part of {origin} was moved into this database. Run the same make move"
                " again to finish it."
            )
        self._engine.prepare(connection)
        stored = connection.execute(sql("stored_setting"), {"name": "timezone"}).fetchone()
        zone = {"timezone": self.timezone}
        if stored != (self.timezone,):
            for table in ("raw_conversations", "raw_messages"):
                connection.execute(sql("redate").format(table=table), zone)
            setting = {"name": "timezone", "value": self.timezone}
            connection.execute(sql("store_setting"), setting)
        self._commit(connection, lambda: False)
        self._is_ready = True

    def _commit(self, connection: duckdb.DuckDBPyConnection, repeat: Callable[[], bool]) -> None:
        for _ in range(REPEATS):
            try:
                return self._engine.commit(connection)
            except ConflictError:
                connection.execute("begin transaction")
                if not repeat():
                    break
        raise WarehouseError(
            "Another program changed the same tables meanwhile, so nothing of this transaction was"
            " stored. Run it again, and let that program write while no run does."
        )


def open_engine(database: str, data_path: str = "") -> Engine:
    """The engine for a database by its name, as in ZIPCHAT_DATABASE. Opens nothing yet."""
    if database.startswith(LAKE):
        return Lake(database, data_path)
    if database.startswith(MOTHERDUCK):
        return MotherDuck(database)
    return File(Path(database))
