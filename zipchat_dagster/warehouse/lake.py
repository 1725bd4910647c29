"""The tables in a lake: DuckLake, with its catalog in PostgreSQL and its data as Parquet files.

Writers take turns by an advisory lock in the catalog's database, for one short transaction at a
time. Without that, DuckLake 1.0 lets two concurrent merges both insert the same new key. PostgreSQL
serves them in the order of their arrival, and releases the lock of a writer whose connection ends.
Readers take no turns: each reads the snapshot that was the newest when it began.

Passwords are not in the database's name but in PGPASSWORD or a pgpass file, which libpq reads.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import duckdb

from zipchat_dagster.warehouse.engine import (
    LAKE,
    MOTHERDUCK,
    ConflictError,
    WarehouseError,
    first_line,
    has_password,
    in_memory,
    quoted,
)
from zipchat_dagster.warehouse.lock import LOCK_TIMEOUT, InUseError, program
from zipchat_dagster.warehouse.search import has_row
from zipchat_dagster.warehouse.tables import sql

if TYPE_CHECKING:
    import psycopg2.extensions

# Options of a new lake. They are kept in its catalog and hold for whoever writes to it.
OPTIONS: Final = {
    # DuckLake would keep small inserts in PostgreSQL. In 1.0, several faults of such rows are known
    # (JSON columns, github.com/duckdb/ducklake/issues/1175; deleted rows that come back, 1215), and
    # each of our raw tables has JSON. A single JSON row survived here.
    "data_inlining_row_limit": "0",
    # Smaller than with the default, snappy.
    "parquet_compression": "zstd",
    # Small enough to be merged within MEMORY_LIMIT.
    "target_file_size": "64MB",
    # Rows. What is written is held in memory by row groups, and texts can be long: with the default
    # of 122,880, merging 130,000 messages of 1 KB took more than MEMORY_LIMIT. With ten million
    # short ones, metrics of a year take 49 s of CPU instead of 46, and facts as long as before.
    "parquet_row_group_size": "8192",
}
# Connections that one process keeps to the catalog at most. With the default, a query over many
# tables can wait for 30 s and fail (ducklake/issues/1031). Idle ones are closed after a minute.
CONNECTIONS: Final = 64
# What libpq would wait for much longer: a server that does not answer, or that is gone.
WAITS: Final = "connect_timeout=10 keepalives_idle=30 keepalives_interval=10 keepalives_count=3"
# A writer whose machine is gone loses its turn after about a minute; PostgreSQL's default is hours.
KEEPALIVE: Final = (
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)
TURN: Final = 0x7A697063  # the advisory lock's key, "zipc"; locks are per database, as is the lake
KEEP_SNAPSHOTS: Final = "7 days"
KEEP_FILES: Final = "1 day"  # after their snapshot expired: somebody may still be reading them
REWRITE_FROM: Final = 0.2  # the fraction of a file's rows that is deleted
MERGES: Final = 100  # merged files per table and run, which bounds how long writers wait


class _Shared:
    """What a lake and MotherDuck have in common: the database is elsewhere and stays attached."""

    def __init__(self, database: str, path: Path) -> None:
        if has_password(database):
            raise WarehouseError(
                "The database's name contains a password or a token. Leave it out, and set"
                " PGPASSWORD or write a line for it in ~/.pgpass (motherduck_token for MotherDuck)."
            )
        self._database = database
        self.path = path
        self._duckdb: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def connection(self, *, read_only: bool, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection; only one that may write takes a turn."""
        with nullcontext() if read_only else self._turn(purpose):
            try:
                if self._duckdb is None:
                    self._duckdb = self._attached()
                if read_only:
                    self._duckdb.execute("begin transaction read only")
                yield self._duckdb
                if read_only:
                    self._duckdb.execute("rollback")
            except BaseException as error:
                self._close()
                if isinstance(error, duckdb.Error) and (problem := self._problem(error)):
                    raise WarehouseError(problem) from None
                raise

    @contextmanager
    def attached_to(self, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
        """Attach the tables to another connection, and keep the turn until the block ends."""
        with self._turn("move"):
            try:
                name = self._attach(connection, "source", read_only=True)
                yield name
                connection.execute(f"detach {name}")
            except duckdb.Error as error:
                if problem := self._problem(error):
                    raise WarehouseError(problem) from None
                raise

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit, unless another's commit came first."""
        try:
            connection.execute("commit")
        except duckdb.TransactionException as error:
            if "conflict" in str(error).lower():
                raise ConflictError from None
            raise

    def small_transactions(self) -> AbstractContextManager[None]:
        """Nothing to do: each commit is a file of its own, which `maintain` merges."""
        return nullcontext()

    def publish(self, target: Path) -> None:
        """Nothing to do."""

    def _close(self) -> None:
        """Roll back and forget the connection, whatever state it is in."""
        if self._duckdb is not None:
            # Closing rolls back too, but if PostgreSQL is gone, that aborts the whole process.
            with suppress(duckdb.Error):
                self._duckdb.execute("rollback")
            self._duckdb.close()
            self._duckdb = None

    def _turn(self, purpose: str) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _attached(self) -> duckdb.DuckDBPyConnection:
        # DuckDB creates the folder if something does not fit into memory.
        temporary = Path(tempfile.gettempdir()) / f"zipchat_dagster_{uuid4().hex}"
        connection = in_memory(str(temporary))
        connection.execute(f"use {self._attach(connection, 'warehouse')}")
        return connection

    def _attach(
        self, connection: duckdb.DuckDBPyConnection, name: str, *, read_only: bool = False
    ) -> str:
        """Attach the database, if possible under this name. Returns the name."""
        raise NotImplementedError

    def _problem(self, error: duckdb.Error) -> str | None:
        """What to tell a person, if the error is about the database and not about a statement."""
        if isinstance(error, duckdb.IOException):
            return f"{self._database} cannot be used ({first_line(error)})."
        return None


class Lake(_Shared):
    """The engine for a DuckLake whose catalog is in PostgreSQL.

    Args:
        database: `ducklake:postgres:` and libpq's connection string, without a password.
        data_path: a folder, or an object store's address, that every program reaches.
    """

    def __init__(self, database: str, data_path: str) -> None:
        self._conninfo = database.removeprefix(LAKE)
        named = re.search(r"dbname\s*=\s*'?(\w+)", self._conninfo)
        # The report goes beside a folder of data, which is there to be written to.
        beside = Path("data") if "://" in data_path else Path(data_path).parent
        super().__init__(database, beside / f"{named[1] if named else 'lake'}.duckdb")
        if "://" in self._conninfo:
            raise WarehouseError(
                "A lake's catalog is written as ducklake:postgres:dbname=… host=… user=…, not as an"
                " address with ://."
            )
        self._data_path = data_path
        self._postgres: psycopg2.extensions.connection | None = None

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Partition and sort the tables, and set OPTIONS, if that was not done before."""
        if not connection.execute(sql("lake_is_laid_out")).fetchall():
            for name, value in OPTIONS.items():
                connection.execute(f"call warehouse.set_option('{name}', '{value}')")
            connection.execute(sql("lake_layout"))

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit, if it is still our turn and no other's commit came first."""
        self._ask("select 1")  # fails if the connection that holds the turn is lost
        super().commit(connection)

    def maintain(self, *, dry_run: bool) -> dict[str, int]:
        """Merge small files, rewrite those with many deleted rows, and delete what only expired
        snapshots need. Writers wait for one of these steps at a time, readers never."""
        counts = {f"{name}_before": value for name, value in self._size().items()}
        if not dry_run:
            self._call("ducklake_flush_inlined_data('warehouse')")
            counts["files_merged"] = self._processed(
                f"ducklake_merge_adjacent_files('warehouse', max_compacted_files => {MERGES})"
            )
            counts["files_rewritten"] = self._processed(
                f"ducklake_rewrite_data_files('warehouse', delete_threshold => {REWRITE_FROM})"
            )
        dry = f"dry_run => {str(dry_run).lower()}"
        counts["snapshots_expired"] = len(
            self._call(
                f"ducklake_expire_snapshots('warehouse', {dry},"
                f" older_than => now() - interval '{KEEP_SNAPSHOTS}')"
            )
        )
        counts["files_deleted"] = len(
            self._call(
                f"ducklake_cleanup_old_files('warehouse', {dry},"
                f" older_than => now() - interval '{KEEP_FILES}')"
            )
        )
        if not dry_run:
            counts |= {f"{name}_after": value for name, value in self._size().items()}
        return counts

    def scrub(self) -> dict[str, int]:
        """Rewrite each file with a deleted row, and delete all snapshots but the newest with the
        files that only they need. Then correct the catalog's statistics, which hold the least and
        the greatest value that a column ever had, and rewrite its tables in PostgreSQL.

        Readers of an older snapshot fail, and new ones wait while PostgreSQL rewrites the catalog.
        """
        self._call("ducklake_flush_inlined_data('warehouse')")
        counts = {
            "files_rewritten": self._processed(
                "ducklake_rewrite_data_files('warehouse', delete_threshold => 0)"
            ),
            "snapshots_expired": len(
                self._call("ducklake_expire_snapshots('warehouse', older_than => now())")
            ),
            "files_deleted": len(
                self._call("ducklake_cleanup_old_files('warehouse', cleanup_all => true)")
            ),
        }
        self._close()  # it would remember the statistics
        try:
            with self._turn("scrub"):
                self._ask(sql("lake_statistics"))
                tables = ", ".join(name for (name,) in self._ask(sql("lake_catalog_tables")))
                # A plain vacuum would leave the bytes of deleted rows on their pages.
                for rewritten in (tables, "pg_catalog.pg_statistic"):
                    self._ask(f"vacuum (full, analyze) {rewritten}")
        except InUseError:
            raise WarehouseError(
                f"{self._database}: another program has been reading the catalog for"
                f" {LOCK_TIMEOUT:.0f} s, so deleted data is still in it. Run this again."
            ) from None
        return counts

    def places_with(self, words: Sequence[str]) -> list[str]:
        """The catalog's tables in PostgreSQL, and the files that the catalog does not know, such as
        those of a killed process, if a word is there."""
        with self._turn("search"):
            tables = [name for (name,) in self._ask(sql("lake_catalog_tables"))]
            found = [
                f"the lake's catalog ({table})"
                for table in tables
                if self._ask(sql("lake_catalog_rows").format(table=table), list(words))
            ]
        unknown = self._call(
            "ducklake_delete_orphaned_files('warehouse', dry_run => true, cleanup_all => true)"
        )
        with self.connection(read_only=True, purpose="") as connection:
            return found + [path for (path,) in unknown if has_row(words, path, connection)]

    def _size(self) -> dict[str, int]:
        with self.connection(read_only=True, purpose="") as connection:
            (row,) = connection.execute(sql("lake_size")).fetchall()
            return dict(zip((c[0] for c in connection.description), row, strict=True))

    def _processed(self, function: str) -> int:
        """How many files a step has replaced."""
        return sum(files for (files,) in self._call(function, "files_processed"))

    def _call(self, function: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """Run one step of the maintenance, in a turn and a transaction of its own."""
        with self.connection(read_only=False, purpose="maintain_job") as connection:
            return connection.execute(f"select {columns} from {function}").fetchall()

    @contextmanager
    def _turn(self, purpose: str) -> Iterator[None]:
        self._take_turn(f"zipchat_dagster {purpose or program()}"[:63])
        try:
            yield
        finally:
            if self._postgres is not None:  # else the turn ended with the connection
                with suppress(WarehouseError):
                    self._ask("select pg_advisory_unlock(%s)", TURN)

    def _take_turn(self, name: str) -> None:
        """Wait until PostgreSQL grants the lock, on a connection that is kept."""
        try:
            if self._postgres is not None:
                with suppress(WarehouseError):  # lost meanwhile, such as by a restart
                    return self._wait(name)
            self._postgres = self._connected()
            self._wait(name)
        except InUseError:
            raise WarehouseError(
                f"{self._database} has been written to for {LOCK_TIMEOUT:.0f} s by"
                f" {self._holder()}, which must end first."
            ) from None

    def _wait(self, name: str) -> None:
        self._ask("set application_name = %s", name)
        self._ask("select pg_advisory_lock(%s)", TURN)

    def _holder(self) -> str:
        """Such as `process 4711 on 10.0.0.7 (zipchat_dagster dagster)`."""
        rows = self._ask(
            "select application_name, coalesce(host(client_addr), 'this machine')"
            " from pg_locks inner join pg_stat_activity using (pid)"
            " where locktype = 'advisory' and objid = %s and granted"
            " and datname = current_database()",
            TURN,
        )
        return f"{rows[0][0]} on {rows[0][1]}" if rows else "another program"

    def _ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        import psycopg2
        from psycopg2.errors import LockNotAvailable

        assert self._postgres is not None
        try:
            with self._postgres.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        except LockNotAvailable:
            raise InUseError from None
        except psycopg2.Error as error:
            self._postgres.close()
            self._postgres = None
            raise WarehouseError(self._explained(str(error))) from None

    def _connected(self) -> psycopg2.extensions.connection:
        import psycopg2

        wait = f"-c lock_timeout={LOCK_TIMEOUT * 1000:.0f}"
        try:
            connection = psycopg2.connect(
                f"{WAITS} {self._conninfo}", options=f"{KEEPALIVE} {wait}"
            )
        except psycopg2.Error as error:
            raise WarehouseError(self._explained(str(error))) from None
        connection.autocommit = True
        return connection

    def _attach(
        self, connection: duckdb.DuckDBPyConnection, name: str, *, read_only: bool = False
    ) -> str:
        _load(connection, "ducklake", "postgres_scanner")
        if "://" in self._data_path:
            _load(connection, "httpfs", "aws")
            connection.execute("create secret (type s3, provider credential_chain)")
        connection.execute(f"set global pg_pool_max_connections = {CONNECTIONS}")
        address = f"{LAKE}{WAITS} {self._conninfo}"
        options = f"automatic_migration false, read_only {str(read_only).lower()}"
        if self._data_path:  # an existing lake knows its own
            options += f", data_path {quoted(self._data_path)}"
        connection.execute(f"attach {quoted(address)} as {name} ({options})")
        return name

    def _problem(self, error: duckdb.Error) -> str | None:
        is_about_it = isinstance(error, duckdb.IOException | duckdb.HTTPException) or re.search(
            "DATA_PATH|DuckLake|Failed to (commit|execute|prepare)|server closed"
            "|fetch from an unsuccessful query",
            str(error),
        )
        return self._explained(str(error)) if is_about_it else None

    def _explained(self, text: str) -> str:
        """One sentence about the database, and what to do."""
        lake, what = self._database, _reason(text)
        if "password" in text:
            return (
                f"{lake}: PostgreSQL refused to log in ({what}). Set PGPASSWORD, or write a line"
                " for it in ~/.pgpass."
            )
        if "catalog version" in text:
            return (
                f"{lake} has a catalog of another version ({what}). Nothing was changed. Use the"
                " DuckDB release that wrote it; migrating the catalog is a decision of yours."
            )
        if "creating a new DuckLake" in text:
            return f"{lake}: there is no lake in this database of PostgreSQL."
        if "DATA_PATH" in text:
            return (
                f"{lake} was created with another ZIPCHAT_DATA_PATH ({what}). Write the one that it"
                " was created with."
            )
        if re.search(r"connect|host name|terminat|query", text, re.IGNORECASE):
            return (
                f"{lake}: PostgreSQL cannot be reached or ended the connection ({what}). Run it"
                " again when it is back: what was stored before is complete."
            )
        return (
            f"{lake}: the data in {self._data_path} cannot be read or written ({what}). Check its"
            " space and permissions. Nothing of this transaction was stored."
        )


class MotherDuck(_Shared):
    """The engine for a MotherDuck database, `md:<name>`. Not tested here.

    Nothing gives turns to writers on several machines: let Dagster run one sync at a time.
    MotherDuck stores and compacts by itself. Its token is in the environment, motherduck_token.
    """

    def __init__(self, database: str) -> None:
        self._name = database.removeprefix(MOTHERDUCK)
        super().__init__(database, Path("data") / f"{self._name}.duckdb")

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing: MotherDuck decides how tables are stored."""

    def maintain(self, *, dry_run: bool) -> dict[str, int]:
        """Nothing: MotherDuck does it."""
        return {}

    def scrub(self) -> dict[str, int]:
        """Nothing can be done: MotherDuck keeps what was deleted for as long as its plan says."""
        return {}

    def places_with(self, words: Sequence[str]) -> list[str]:
        """None that can be looked into."""
        return []

    def _turn(self, purpose: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _attach(
        self, connection: duckdb.DuckDBPyConnection, name: str, *, read_only: bool = False
    ) -> str:
        _load(connection, "motherduck")
        connection.execute(f"attach {quoted(self._database)}")  # it cannot be given another name
        return f'"{self._name}"'


def _load(connection: duckdb.DuckDBPyConnection, *extensions: str) -> None:
    """Load DuckDB's extensions: each from its Python package if that is installed for this DuckDB,
    which writes nothing to the home folder, else from DuckDB's site."""
    for name in extensions:
        package = find_spec(f"duckdb_extension_{name}")
        file = f"extensions/v{duckdb.__version__}/{name}.duckdb_extension"
        path = Path(package.origin or "").parent / file if package else None
        try:
            if path and path.exists():
                connection.execute(f"load {quoted(str(path))}")
            else:
                connection.execute(f"install {name}")
                connection.execute(f"load {name}")
        except duckdb.Error as error:
            raise WarehouseError(
                f"DuckDB's extension {name} cannot be loaded ({first_line(error)})."
                " A lake needs: pip install 'zipchat-dagster[lake]'"
            ) from None


def _reason(text: str) -> str:
    """What went wrong, without the query in which it did: that can contain customers' data."""
    if found := re.search(
        r"(connection to server|server closed|terminating|FATAL|could not).*", text
    ):
        return found[0].strip()
    line = first_line(text)
    return "a query of the catalog failed" if re.search("query|COPY", line) else line
