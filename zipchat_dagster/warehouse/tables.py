"""The tables with their grain and columns, read from `sql/schema.sql`, and all other statements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

SQL = Path(__file__).parent / "sql"

_TABLE = re.compile(
    r"-- grain: (?P<grain>[^\n]+)\n"
    r"(?:-- (?!key: )[^\n]+\n)*(?:-- key: (?P<key>[^\n]+)\n)?"
    r"create table if not exists zipchat\.(?P<name>\w+) \(\n(?P<columns>.*?)\n\);",
    re.DOTALL,
)
_PAGE = """\
# Tables

All tables are in the schema `zipchat`. Times are `TIMESTAMPTZ`. `payload` is the record as
received, so a field that the API adds is there before it has a column. [Metrics](metrics.md)
defines the numbers in `escalation_metrics`.

This page is generated from `warehouse/sql/schema.sql`.
"""
_COLUMN = re.compile(r"^    (?P<name>\w+) (?P<type>\w+),? -- (?P<description>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Column:
    """One column: its name, DuckDB type and meaning."""

    name: str
    type: str
    description: str

    @property
    def is_personal(self) -> bool:
        """Whether it holds personal data, as its comment says."""
        return "personal data" in self.description


@dataclass(frozen=True)
class Table:
    """One table of the schema `zipchat`. `key` names the columns that no two rows share; a log has
    none."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


@cache
def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def sql_version(*names: str) -> str:
    """A hash of statements, for Dagster's `code_version`: it changes when one of them does."""
    return sha256("\n".join(map(sql, names)).encode()).hexdigest()[:12]


@cache
def schema_tables() -> dict[str, Table]:
    """Every table by name, in the order of `schema.sql`."""
    found = {}
    for match in _TABLE.finditer(sql("schema")):
        columns = tuple(
            Column(**column.groupdict()) for column in _COLUMN.finditer(match["columns"])
        )
        key = tuple(match["key"].split(", ")) if match["key"] else ()
        found[match["name"]] = Table(match["name"], match["grain"], key, columns)
    return found


def markdown() -> str:
    """The whole of `docs/tables.md`."""
    parts = [_PAGE]
    for table in schema_tables().values():
        rows = "\n".join(f"| `{c.name}` | {c.type} | {c.description} |" for c in table.columns)
        head = f"## `{table.name}`\n\nGrain: {table.grain}.\n\n| column | type | meaning |"
        parts.append(f"{head}\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)
