"""Section of `make bench` about the engines: the same work on a file and on a lake."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.metrics import megabytes
from benchmarks.sync import END, NOW, START, sync
from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics
from zipchat_dagster.warehouse.engine import LAKE
from zipchat_dagster_tests.postgres import postgres

HOURS = 24
BACKFILL = 10_000


def lake() -> None:
    """A file and a lake (PostgreSQL on this machine): seconds, and megabytes on disk"""
    with tempfile.TemporaryDirectory() as name, postgres(Path(name)) as server:
        os.environ |= server.environment
        for work in (_hourly, _backfill):
            folder = Path(name) / work.__name__
            folder.mkdir()
            work("file", Warehouse(folder / "warehouse.duckdb"), folder)
            # Of the two databases that PostgreSQL begins with, one for each.
            database = "postgres" if work is _hourly else "template1"
            data = folder / "data"
            work("lake", Warehouse(f"{LAKE}dbname={database}", data_path=str(data)), data)


def _hourly(engine: str, tables: Warehouse, folder: Path) -> None:
    chat = generate(seed=1, conversations=600, days=30, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None)
    _timed(engine, "first sync of 600 conversations", lambda: _run(sandbox, tables))
    started = time.monotonic()
    for hour in range(HOURS):
        for conversation_id in list(chat.conversations)[25 * hour : 25 * (hour + 1)]:
            chat.add_message(conversation_id, at=sandbox.now())
        _run(sandbox, tables)
    each = (time.monotonic() - started) / HOURS
    print(f"{engine}  {'hourly run, 25 changed':35} {each:8.2f} s", flush=True)
    _maintained(engine, tables, folder)


def _backfill(engine: str, tables: Warehouse, folder: Path) -> None:
    chat = generate(seed=2, conversations=BACKFILL, days=50, now=NOW, max_messages=10)
    sandbox = Sandbox(chat=chat, limit=None)
    _timed(engine, f"backfill of {BACKFILL:,} conversations", lambda: sync(sandbox, tables))
    _maintained(engine, tables, folder)


def _maintained(engine: str, tables: Warehouse, folder: Path) -> None:
    before = megabytes(folder)
    _timed(engine, "maintenance", tables.maintain)
    counts = tables.maintain(dry_run=True)
    files = f" in {counts['data_files_before']} files" if "data_files_before" in counts else ""
    print(
        f"{engine}  on disk {before:.1f} MB, after maintenance {megabytes(folder):.1f} MB, of"
        f" which {counts['bytes_before'] / 1e6:.1f} MB{files} are the newest snapshot",
        flush=True,
    )


def _run(sandbox: Sandbox, tables: Warehouse) -> None:
    sync(sandbox, tables, START, END)
    rebuild_facts(tables, chat_id=1, now=NOW, rules=Rules())
    rebuild_leads(tables, chat_id=1)
    rebuild_metrics(tables, chat_id=1, days=[f"{NOW:%Y-%m-%d}"], now=NOW, rules=Rules())


def _timed(engine: str, what: str, work: Callable[[], object]) -> None:
    started = time.monotonic()
    work()
    print(f"{engine}  {what:35} {time.monotonic() - started:8.2f} s", flush=True)
