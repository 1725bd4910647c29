"""The tables with their grain and columns, read from `sql/schema.sql`, the views, read from
`sql/views.sql`, and all other statements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

SQL = Path(__file__).parent / "sql"

_TABLE = re.compile(
    r"-- grain: (?P<grain>[^\n]+)\n(?P<note>(?:-- (?!key: )[^\n]+\n)*)"
    r"(?:-- key: (?P<key>[^\n]+)\n)?"
    r"create table if not exists zipchat\.(?P<name>\w+) \(\n(?P<columns>.*?)\n\);",
    re.DOTALL,
)
_PAGE = """\
# Tables

All tables are in the schema `zipchat`. Times are `TIMESTAMPTZ`. `payload` is the record as
received, so a field that the API adds is there before it has a column. [Metrics](metrics.md)
defines the numbers in `escalation_metrics`.

This page is generated from `warehouse/sql/schema.sql` and `warehouse/sql/views.sql`.
"""
_VIEWS = """\
## Views

Views compute what they show when they are read, so they are as new as the tables. A name with
parentheses is a macro: `from zipchat.metrics_by('quarter')`.

| view | grain | what for |
|---|---|---|
"""
_VIEW = re.compile(
    r"-- grain: (?P<grain>[^\n]+)\n(?P<purpose>(?:-- [^\n]+\n)+)"
    r"create (?:view|macro) if not exists zipchat\.(?P<name>\w+(?:\([^)]*\))?) as"
)
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
    """One table of the schema `zipchat`, with a note where its grain needs one. No two rows share
    the values of `key`; a log has none."""

    name: str
    grain: str
    note: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names_of_key(self) -> dict[str, str]:
        """What `check_keys.sql` is filled with, which looks at one chat at a time."""
        key = [name for name in self.key if name != "chat_id"]
        return {"table": self.name, "key": ", ".join(key or self.key)}


@dataclass(frozen=True)
class View:
    """A view or a macro (whose name has its parameters) of the schema `zipchat`."""

    name: str
    grain: str
    purpose: str


@cache
def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


@cache
def sql_version(*patterns: str) -> str:
    """A hash of the statements whose names match, for Dagster's `code_version`: it changes when one
    of them does."""
    paths = sorted({path for pattern in patterns for path in SQL.glob(f"{pattern}.sql")})
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


@cache
def schema_tables() -> dict[str, Table]:
    """Every table by name, in the order of `schema.sql`."""
    found = {}
    for match in _TABLE.finditer(sql("schema")):
        columns = tuple(
            Column(**column.groupdict()) for column in _COLUMN.finditer(match["columns"])
        )
        key = tuple(match["key"].split(", ")) if match["key"] else ()
        note = _text(match["note"])
        found[match["name"]] = Table(match["name"], match["grain"], note, key, columns)
    return found


@cache
def schema_views() -> tuple[View, ...]:
    """Every view and macro, in the order of `views.sql`."""
    return tuple(
        View(
            match["name"],
            match["grain"],
            _text(match["purpose"]),
        )
        for match in _VIEW.finditer(sql("views"))
    )


def _text(comment: str) -> str:
    """Lines of comments as one."""
    return " ".join(line.removeprefix("-- ") for line in comment.splitlines())


def markdown() -> str:
    """The whole of `docs/tables.md`."""
    parts = [_PAGE]
    for table in schema_tables().values():
        rows = "\n".join(f"| `{c.name}` | {c.type} | {c.description} |" for c in table.columns)
        grain = f"Grain: {table.grain}. {table.note}".strip()
        head = f"## `{table.name}`\n\n{grain}\n\n| column | type | meaning |"
        parts.append(f"{head}\n|---|---|---|\n{rows}\n")
    views = (f"| `{v.name}` | {v.grain} | {v.purpose} |\n" for v in schema_views())
    return "\n".join([*parts, _VIEWS + "".join(views)])
