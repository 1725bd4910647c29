"""docs/recipes.md: its queries run, and their results are those on the page.

`make docs` runs this file as a program, which writes the results again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster_tests.conftest import Project, derive_all, midnight

PAGE = PROJECT / "docs" / "recipes.md"
NOW = datetime(2026, 6, 12, 15, 20, tzinfo=UTC)
DAYS = 30
RULES = Rules(
    business_hours=BusinessHours.parse("mon-fri 08:00-18:00", "UTC"),
    response_target_seconds=3600,
    next_response_target_seconds=3600,
    resolution_target_seconds=86_400,
)
RECIPE = re.compile(r"^```sql\n(.*?)```\n\n(?:(?:\|[^\n]*\n)+\n?)?", re.MULTILINE | re.DOTALL)


def build(path: Path) -> Warehouse:
    """The chat of `make demo`, as of a day that never changes."""
    chat = generate(seed=1, conversations=900, days=DAYS, now=NOW)
    warehouse = Warehouse(path)
    project = Project(Sandbox(chat=chat, limit=None), warehouse)
    project.clock.now = NOW.timestamp()
    since = midnight(NOW) - timedelta(days=DAYS)
    project.sync(since=since, until=midnight(NOW) + timedelta(days=1), concurrency=64)
    days = [f"{since + timedelta(days=n):%Y-%m-%d}" for n in range(DAYS + 1)]
    derive_all(warehouse, days=days, now=NOW, rules=RULES)
    return warehouse


def answered(page: str, warehouse: Warehouse) -> str:
    """The page with a table of results below each query."""
    with duckdb.connect(str(warehouse.path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")

        def answer(found: re.Match[str]) -> str:
            return f"```sql\n{found[1]}```\n\n{table(connection.execute(found[1]))}\n"

        return RECIPE.sub(answer, f"{page}\n").rstrip("\n") + "\n"


def table(result: duckdb.DuckDBPyConnection) -> str:
    head = [name for name, *_ in result.description]
    lines = [head, ["---"] * len(head), *([cell(c) for c in row] for row in result.fetchall())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def test_the_results_on_the_page_are_those_of_its_queries(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    assert len(RECIPE.findall(page)) >= 12
    assert answered(page, build(tmp_path / "recipes.duckdb")) == page, "run `make docs`"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        warehouse = build(Path(folder) / "recipes.duckdb")
        PAGE.write_text(answered(PAGE.read_text("utf-8"), warehouse), "utf-8")
