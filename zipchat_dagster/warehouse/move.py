"""Copies all tables of one database into another, such as those of a file into a lake, or back.

Nobody who takes turns writes to either meanwhile. Each transaction copies a table, or some days of
one that has days. Days that both sides hold alike are left as they are, so repeating a move that
was interrupted goes on where it stopped. Until the end, a setting in the target names the source,
and `Warehouse` refuses to use the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any, Final

import duckdb

from zipchat_dagster.warehouse.engine import MOVING, ConflictError, Engine, WarehouseError
from zipchat_dagster.warehouse.migrations import VERSION, prepare_schema, stored_version
from zipchat_dagster.warehouse.tables import schema_tables, sql

SETTINGS: Final = "warehouse_settings"
# What claims that rows are complete comes after the rows in schema.sql, and so it does here.
TABLES: Final = tuple(name for name in schema_tables() if name != SETTINGS)

# Rows of one transaction, if they are of more than one day. A lake sorts messages and compresses
# them in memory: a month of 130,000 of 1 KB took more than DuckDB may use.
ROWS_AT_ONCE: Final = 20_000
# By day, or None for rows without a day and for a table without days: a number of rows, and a sum
# over the hashes of all their values.
Pieces = dict[date | None, tuple[int, int]]


def move(source: Engine, target: Engine, *, origin: str, report: Callable[[str], None]) -> None:
    """Copy all tables, and verify that the target then holds the same rows.

    Args:
        source: only read.
        target: empty, or with what an earlier move from `origin` left.
        origin: the source's name, which the target remembers until the move is complete.
        report: called with a line for each table.

    Raises:
        WarehouseError: one of them cannot be used, the target holds other data, or a program that
            takes no turns changed something meanwhile.
    """
    with (
        target.connection(read_only=False, purpose="move") as connection,
        source.attached_to(connection) as catalog,
    ):
        try:
            _Move(target, connection, catalog, origin, report).run()
        except ConflictError:
            raise WarehouseError(
                "Another program wrote to the target in the meantime. Stop it, and run this again."
            ) from None


class _Move:
    def __init__(
        self,
        target: Engine,
        connection: duckdb.DuckDBPyConnection,
        catalog: str,
        origin: str,
        report: Callable[[str], None],
    ) -> None:
        self._target = target
        self._connection = connection
        self._source = catalog
        ((self._own,),) = self._rows("select current_database()")
        self._origin = origin
        self._report = report

    def run(self) -> None:
        self._check_source()
        self._check_target()
        with self._transaction():
            prepare_schema(self._connection)
            self._target.prepare(self._connection)
            self._rows(sql("store_setting"), name=MOVING, value=self._origin)
        for table in TABLES:
            self._copy(table)
        for table in TABLES:
            self._verify(table)
        with self._transaction():  # deletes MOVING too
            self._replace(SETTINGS, "true")

    def _check_source(self) -> None:
        self._connection.execute(f"use {self._source}")
        version = stored_version(self._connection)
        begun = self._setting(MOVING) if version else None
        self._connection.execute(f'use "{self._own}"')
        if version is None:
            raise WarehouseError(f"{self._origin} holds no tables of zipchat_dagster.")
        if begun:
            raise WarehouseError(
                f"{self._origin} only has a part of {begun}. Finish that move first."
            )
        if version < VERSION:
            raise WarehouseError(
                f"{self._origin} was written by an older version of zipchat_dagster (its schema is"
                f" number {version}, and this one's is {VERSION}). Run maintain_job on it, which"
                " migrates it, and then this again."
            )
        if version > VERSION:
            raise WarehouseError(
                f"{self._origin} was written by a newer version of zipchat_dagster (its schema is"
                f" number {version}, and this one knows up to {VERSION}): update the package."
            )

    def _check_target(self) -> None:
        tables = {name for (name,) in self._rows(sql("table_names"))}
        begun = self._setting(MOVING) if SETTINGS in tables else None
        if begun == self._origin:
            return
        if begun:
            raise WarehouseError(
                f"The target has a part of {begun}. Finish that move first, or use an empty target."
            )
        for table in sorted(tables - {SETTINGS}):
            if self._rows(f"select 1 from zipchat.{table} limit 1"):
                raise WarehouseError(
                    f"The target already has data ({table}). Nothing was changed. Use one that is"
                    " empty or does not exist yet."
                )

    def _copy(self, table: str) -> None:
        wanted, found = self._pieces(self._source, table), self._pieces(self._own, table)
        days = sorted(wanted.keys() | found.keys(), key=str)
        different = [day for day in days if wanted.get(day) != found.get(day)]
        for some in _batches(different, wanted):
            with self._transaction():
                self._replace(table, _condition(table, some))
        self._report(f"{table:24} {sum(rows for rows, _ in wanted.values()):12,} rows")

    def _verify(self, table: str) -> None:
        if self._pieces(self._source, table) != self._pieces(self._own, table):
            raise WarehouseError(
                f"{table} differs between the two sides: another program wrote to it in the"
                " meantime. Stop it, and run this again."
            )
        if schema_tables()[table].key:
            keys = sql("check_keys").format(**schema_tables()[table].names_of_key)
            for (chat_id,) in self._rows(f"select distinct chat_id from zipchat.{table}"):
                if self._rows(keys, chat_id=chat_id, most=1):
                    self._report(f"{table}: some keys are there twice, as they are in the source")

    def _pieces(self, catalog: str, table: str) -> Pieces:
        day = "partition_date" if _has_days(table) else "null::date"
        query = sql("move_pieces").format(
            piece=day, columns=_columns(table), catalog=catalog, table=table
        )
        return {piece: (rows, content) for piece, rows, content in self._rows(query)}

    def _replace(self, table: str, condition: str) -> None:
        names = {"table": table, "condition": condition}
        self._rows(sql("delete_rows").format(**names))
        self._rows(sql("move_copy").format(**names, columns=_columns(table), catalog=self._source))

    def _setting(self, name: str) -> str | None:
        """A setting of the current database."""
        rows = self._rows(sql("stored_setting"), name=name)
        return rows[0][0] if rows else None

    def _rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters or None).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin transaction")
        try:
            yield
            self._target.commit(self._connection)
        except BaseException:
            with suppress(duckdb.Error):  # so that the source can be detached
                self._connection.execute("rollback")
            raise


def _batches(days: Sequence[date | None], wanted: Pieces) -> Iterator[list[date | None]]:
    """The days in order, as many at a time as a transaction copies; None, the last, alone."""
    batch: list[date | None] = []
    rows = 0
    for day in days:
        count, _ = wanted.get(day, (0, 0))
        if batch and (day is None or rows + count > ROWS_AT_ONCE):
            yield batch
            batch, rows = [], 0
        batch.append(day)
        rows += count
    if batch:
        yield batch


def _condition(table: str, days: Sequence[date | None]) -> str:
    if days[0] is not None:
        return f"partition_date between date '{days[0]}' and date '{days[-1]}'"
    return "partition_date is null" if _has_days(table) else "true"


def _has_days(table: str) -> bool:
    return any(column.name == "partition_date" for column in schema_tables()[table].columns)


def _columns(table: str) -> str:
    return ", ".join(column.name for column in schema_tables()[table].columns)
