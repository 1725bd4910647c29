"""Writes `versions/v<number>.sql`, a small database of the schema's current version, as SQL.

    python -m zipchat_dagster_tests.warehouse.write_version

Run it once for each version, before its release; afterwards the file stays as it is.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.migrations import VERSION
from zipchat_dagster.warehouse.tables import sql
from zipchat_dagster_tests.conftest import Project, derive_all

VERSIONS: Final = Path(__file__).parent / "versions"
NOW: Final = datetime(2026, 3, 4, 18, tzinfo=UTC)
DAYS: Final = ["2026-03-03", "2026-03-04"]


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
    chat = generate(seed=22, conversations=2, days=1, now=NOW)
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Sandbox(chat=chat, limit=None), Warehouse(Path(folder) / "tables.duckdb"))
        project.clock.now = NOW.timestamp()
        project.sync(since=NOW - timedelta(days=2), until=NOW + timedelta(days=1))
        derive_all(project.warehouse, days=DAYS, now=NOW)
        text = "\n".join(dump(project.warehouse)) + "\n"
    (VERSIONS / f"v{VERSION}.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
