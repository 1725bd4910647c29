"""A database written by any released version can be opened, and one of a newer version is refused.

`versions/` has a small database per version, written by that version's own code, as SQL.
"""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.derive import FACTS, Rules, rebuild_facts, rebuild_metrics
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.migrations import MIGRATIONS, SETTING, VERSION
from zipchat_dagster.warehouse.tables import SQL, sql
from zipchat_dagster_tests.conftest import create_tables
from zipchat_dagster_tests.warehouse.write_version import VERSIONS

SHAPE = """
    select table_name, column_name, data_type, is_nullable from information_schema.columns
    where table_schema = 'zipchat' order by all
"""
# DuckDB keeps the columns after EXCLUDE in no order.
VIEWS = """
    select view_name, list_sort(string_split_regex(sql, '[ ,()]+')) from duckdb_views()
    where schema_name = 'zipchat' order by all
"""

Rows = list[tuple[Any, ...]]


def written_by(version: int, path: Path) -> Path:
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute((VERSIONS / f"v{version}.sql").read_text(encoding="utf-8"))
    return path


def query(path: Path, statement: str) -> Rows:
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(statement).fetchall()


def shape(path: Path) -> Rows:
    return query(path, SHAPE) + query(path, VIEWS)


def rows(path: Path, columns: dict[str, list[str]]) -> Rows:
    selects = (
        f"select '{table}', row({', '.join(names)})::varchar from zipchat.{table}"
        for table, names in columns.items()
    )
    return query(path, f"{' union all '.join(selects)} order by all")


def opened(path: Path) -> Path:
    create_tables(Warehouse(path))
    return path


@pytest.mark.parametrize("version", range(VERSION + 1))
def test_a_database_of_each_version_gets_the_shape_of_a_new_one_and_keeps_its_rows(
    tmp_path: Path, version: int
) -> None:
    old = written_by(version, tmp_path / "old.duckdb")
    columns: dict[str, list[str]] = {}
    for table, column, *_ in query(old, SHAPE):
        if table in schema_tables() and table != "warehouse_settings":
            columns.setdefault(table, []).append(column)
    before = rows(old, columns)
    assert len(before) > 20
    opened(old)
    assert shape(old) == shape(opened(tmp_path / "new.duckdb"))
    assert rows(old, columns) == before
    stored = query(old, f"select value from zipchat.warehouse_settings where name = '{SETTING}'")
    assert stored == [(str(VERSION),)]


def test_the_newest_versions_database_has_the_shape_that_schema_sql_defines(tmp_path: Path) -> None:
    written = written_by(VERSION, tmp_path / "written.duckdb")
    assert shape(written) == shape(opened(tmp_path / "new.duckdb")), (
        "schema.sql has changed: add a migration and a database of the new version, as"
        " docs/design.md describes."
    )


@pytest.mark.parametrize("version", range(VERSION))
def test_tables_that_an_older_version_lacked_are_derived_by_the_next_run(
    tmp_path: Path, version: int
) -> None:
    old = written_by(version, tmp_path / "old.duckdb")
    warehouse = Warehouse(old)
    now = datetime(2026, 3, 4, 18, tzinfo=UTC)
    assert rebuild_facts(warehouse, chat_id=1, now=now, rules=Rules())["escalations"] == 1
    days = ["2026-03-03", "2026-03-04"]
    rebuild_metrics(warehouse, chat_id=1, days=days, now=now, rules=Rules())
    new = written_by(VERSION, tmp_path / "new.duckdb")
    for table in (*FACTS, "escalation_metrics", "activity_by_hour"):
        columns = {table: sorted(c.name for c in schema_tables()[table].columns)}
        assert rows(old, columns) == rows(new, columns)


def test_a_database_between_versions_0_and_1_is_migrated_too(tmp_path: Path) -> None:
    path = written_by(1, tmp_path / "between.duckdb")
    query(path, f"delete from zipchat.warehouse_settings where name = '{SETTING}'")
    assert shape(opened(path)) == shape(opened(tmp_path / "new.duckdb"))


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = opened(tmp_path / "new.duckdb")
    newer = (
        f"update zipchat.warehouse_settings set value = '{VERSION + 1}' where name = '{SETTING}'"
    )
    query(path, newer)
    query(path, "drop table zipchat.leads")
    before = shape(path)
    for _ in range(2):
        with (
            pytest.raises(WarehouseError, match=r"newer version.*update the package"),
            Warehouse(path).transaction(),
        ):
            pass
    assert shape(path) == before


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written_by(0, tmp_path / "old.duckdb")
    before = shape(path)
    broken = {"schema": f"{sql('schema')}; select no_such_column"}
    with monkeypatch.context() as patch:
        name = "zipchat_dagster.warehouse.migrations.sql"
        patch.setattr(name, lambda name: broken.get(name) or sql(name))
        with pytest.raises(duckdb.BinderException):
            opened(path)
    assert shape(path) == before
    assert shape(opened(path)) != before


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [int(re.findall(r"^migrations/(\d{4})_\w+$", name)[0]) for name in MIGRATIONS]
    assert numbers == list(range(1, VERSION + 1))


def test_statements_do_not_rely_on_the_order_of_columns() -> None:
    for path in SQL.rglob("*.sql"):
        text = path.read_text(encoding="utf-8")
        for insert in re.findall(r"insert into zipchat\.\w+(.*)", text):
            assert insert.startswith((" by name", " (")), path.name
