"""Finds and deletes what Dagster stores about runs: their config, events and output."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import dagster as dg
import sqlalchemy
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.runs import SqlRunStorage

from zipchat_dagster.warehouse.search import files_with

RUNS_AT_ONCE: Final = 1_000


def runs_of(context: dg.OpExecutionContext, wanted: dg.RunsFilter) -> Iterator[dg.DagsterRun]:
    """The other runs that a filter selects, of any code location."""
    cursor = None
    while some := context.instance.get_runs(wanted, cursor=cursor, limit=RUNS_AT_ONCE):
        yield from (run for run in some if run.run_id != context.run_id)
        cursor = some[-1].run_id


def is_of(run: dg.DagsterRun, location: str | None) -> bool:
    """Whether a run belongs to this code location. Another one may have jobs of the same names.
    Runs from the command line name no location, and belong to all."""
    return location is None or location_of(run) in (location, None)


def location_of(run: dg.DagsterRun) -> str | None:
    """The repository and code location that a run names, if it names one."""
    origin = run.remote_job_origin
    return origin.repository_origin.get_label() if origin else None


def op_configs(run: dg.DagsterRun) -> Iterator[Mapping[str, Any]]:
    """The configs of a run's ops."""
    ops: Any = run.run_config.get("ops", {})
    for op in ops.values():
        if isinstance(op, Mapping) and isinstance(op.get("config"), Mapping):
            yield op["config"]


def delete_runs(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> list[str]:
    """Delete runs with their events and what they printed. Returns those that are left."""
    left = [run.run_id for run in runs if not _is_deleted(instance, run)]
    _vacuum(instance, [run.run_id for run in runs])
    return [f"Dagster's run {run_id} (delete it on its page, once it has ended)" for run_id in left]


def _is_deleted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Delete a run. Returns False if it has not ended, or Dagster does not let programs do it."""
    if not run.is_finished:
        return False
    try:
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
    except Exception:  # each storage raises something else
        return False
    return True


def storage_with(instance: dg.DagsterInstance, words: Sequence[str]) -> list[str]:
    """Where Dagster stores one of the words: files under DAGSTER_HOME, and the rows of its database
    if that is elsewhere."""
    if not words:
        return []
    found = [str(path) for path in files_with(words, _folders(instance))]
    runs, events = instance.run_storage, instance.event_log_storage
    if isinstance(runs, SqlRunStorage):
        with runs.connect() as connection:
            found += _rows_with(connection, "runs", "run_body", words)
    if isinstance(events, SqlEventLogStorage):
        with events.index_connection() as connection:
            found += _rows_with(connection, "event_logs", "event", words)
    return found


def _rows_with(
    connection: sqlalchemy.engine.Connection, table: str, text: str, words: Sequence[str]
) -> list[str]:
    run_id: sqlalchemy.ColumnClause[str] = sqlalchemy.column("run_id")
    stored: sqlalchemy.ColumnClause[str] = sqlalchemy.column(text)
    query = (
        sqlalchemy.select(run_id)
        .select_from(sqlalchemy.table(table))
        .where(sqlalchemy.or_(*(stored.contains(word, autoescape=True) for word in words)))
        .distinct()
    )
    return [f"Dagster's {table} (run {found})" for (found,) in connection.execute(query)]


def _vacuum(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """SQLite leaves deleted rows in the free space of its files: the one with the configs of runs,
    and those with the events of one run each."""
    history = Path(instance.root_directory, "history")
    shards = [history / "runs" / f"{run_id}.db" for run_id in run_ids]
    for file in filter(Path.exists, [history / "runs.db", *shards] if run_ids else []):
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


def _folders(instance: dg.DagsterInstance) -> list[Path]:
    """Those that Dagster writes to. DAGSTER_HOME may be a project with much else in it."""
    return [Path(instance.root_directory, name) for name in ("history", "schedules", "storage")]
