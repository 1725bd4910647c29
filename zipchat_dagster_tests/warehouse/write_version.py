"""Writes `versions/v<number>.sql`, a small database of the schema's current version, as SQL.

    python -m zipchat_dagster_tests.warehouse.write_version

Run it once for each version, before its release; afterwards the file stays as it is.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from zipchat_dagster.client import Clock as MachineClock
from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Sandbox, generate
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics
from zipchat_dagster.warehouse.migrations import VERSION
from zipchat_dagster.warehouse.tables import sql

VERSIONS: Final = Path(__file__).parent / "versions"
NOW: Final = datetime(2026, 3, 4, 18, tzinfo=UTC)
DAYS: Final = ["2026-03-03", "2026-03-04"]
LOG: Final = logging.getLogger("zipchat_dagster")


class Clock(MachineClock):
    """Stands still until something sleeps."""

    now = NOW.timestamp()

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def dump(warehouse: Warehouse) -> Iterator[str]:
    """The statements that create the same database."""
    yield f"-- A small database written by version {VERSION}, with invented data."
    bare = re.sub(r"\s*-- .*", "", sql("schema") + sql("views")).replace(" if not exists", "")
    yield "\n".join(line for line in bare.splitlines() if line.strip())
    with warehouse.connection(read_only=True) as connection:
        for table in schema_tables():
            rows = connection.execute(f"from zipchat.{table} order by all").fetchall()
            if rows:
                yield f"insert into zipchat.{table} values"
                yield ",\n".join(f"    ({', '.join(map(literal, row))})" for row in rows) + ";"


def literal(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case datetime() | date() | str():
            return "'" + str(value).replace("'", "''") + "'"
        case _:
            return str(value)


def main() -> None:
    clock = Clock()
    chat = generate(seed=22, conversations=2, days=1, now=NOW)
    sandbox = Sandbox(chat=chat, limit=None, clock=clock.time)
    since, until = NOW - timedelta(days=2), NOW + timedelta(days=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        ZipchatClient(
            api_key=DEFAULT_KEY,
            chat_id=chat.chat_id,
            base_url=BASE_URL,
            transport=sandbox.transport(),
            clock=clock,
        ) as client,
    ):
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb")
        sync_users(client, warehouse)
        sync_conversations(client, warehouse, since=since, refresh=False, log=LOG)
        sync_messages(
            client, warehouse, since=since, until=until, days=DAYS, refresh=False, log=LOG
        )
        rebuild_facts(warehouse, chat_id=1, now=NOW, rules=Rules())
        rebuild_leads(warehouse, chat_id=1)
        rebuild_metrics(warehouse, chat_id=chat.chat_id, days=DAYS, now=NOW, rules=Rules())
        text = "\n".join(dump(warehouse)) + "\n"
    (VERSIONS / f"v{VERSION}.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
