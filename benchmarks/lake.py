"""Section of `make bench` about the engines: the same work on a file and on a lake."""

from __future__ import annotations

from benchmarks.common import (
    NOW,
    Tables,
    file_tables,
    lake_tables,
    measure,
    measure_maintenance,
    sync,
)
from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics

HOURS = 24
BACKFILL = 10_000


def lake() -> None:
    """A file and a lake (PostgreSQL on this machine): seconds, and megabytes on disk"""
    for work in (_hourly, _backfill):
        for engine, empty_tables in (("A file", file_tables), ("A lake", lake_tables)):
            print(f"{engine}:", flush=True)
            with empty_tables() as tables:
                work(tables)


def _hourly(tables: Tables) -> None:
    chat = generate(seed=1, conversations=600, days=30, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None)

    def hours() -> None:
        for hour in range(HOURS):
            for conversation_id in list(chat.conversations)[25 * hour : 25 * (hour + 1)]:
                chat.add_message(conversation_id, at=sandbox.now())
            _run(sandbox, tables)

    measure(tables, "first sync of 600 conversations", lambda: _run(sandbox, tables))
    measure(tables, f"{HOURS} hourly runs, 25 changed in each", hours)
    measure_maintenance(tables)


def _backfill(tables: Tables) -> None:
    chat = generate(seed=2, conversations=BACKFILL, days=50, now=NOW, max_messages=10)
    sandbox = Sandbox(chat=chat, limit=None)
    measure(tables, f"backfill of {BACKFILL:,} conversations", lambda: sync(sandbox, tables))
    measure_maintenance(tables)


def _run(sandbox: Sandbox, tables: Tables) -> None:
    sync(sandbox, tables)
    rebuild_facts(tables, chat_id=1, now=NOW, rules=Rules())
    rebuild_leads(tables, chat_id=1)
    rebuild_metrics(tables, chat_id=1, days=[f"{NOW:%Y-%m-%d}"], now=NOW, rules=Rules())
