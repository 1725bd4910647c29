"""`schema.sql` is parsed completely, and everything in it is documented."""

from __future__ import annotations

import re

from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.tables import SQL, schema_views, sql, sql_version
from zipchat_dagster_tests.conftest import create_tables


def test_every_table_of_the_schema_is_found() -> None:
    created = re.findall(r"create table if not exists zipchat\.(\w+)", sql("schema"))
    assert list(schema_tables()) == created
    assert len(created) == len(set(created)) == sql("schema").count("create table")


def test_every_view_and_macro_is_found_with_its_purpose() -> None:
    created = re.findall(r"create (?:view|macro) if not exists zipchat\.(\w+)", sql("views"))
    assert [view.name.partition("(")[0] for view in schema_views()] == created
    assert len(created) == sql("views").count("create ")
    for view in schema_views():
        assert len(view.purpose) > 15, view.name


def test_every_table_has_a_grain_and_every_column_a_type_and_a_meaning() -> None:
    for table in schema_tables().values():
        assert table.grain.startswith("one row per ")
        assert table.columns
        for column in table.columns:
            assert column.type in {
                "bigint",
                "varchar",
                "boolean",
                "date",
                "timestamptz",
                "double",
                "json",
            }
            assert len(column.description) > 3


def test_the_parsed_schema_matches_the_database(warehouse: Warehouse) -> None:
    create_tables(warehouse)
    with warehouse.connection() as connection:
        found = connection.execute(
            "select table_name, column_name, lower(data_type) from duckdb_columns()"
            " semi join duckdb_tables() using (schema_name, table_name)"
            " where schema_name = 'zipchat' order by table_name, column_index"
        ).fetchall()
    names = {"timestamp with time zone": "timestamptz"}
    expected = [
        (table.name, column.name, column.type)
        for table in sorted(schema_tables().values(), key=lambda table: table.name)
        for column in table.columns
    ]
    assert [(table, column, names.get(kind, kind)) for table, column, kind in found] == expected


def test_every_statement_says_its_grain_in_its_first_line() -> None:
    for path in SQL.glob("*.sql"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert path.stem in ("schema", "views") or first.startswith("-- grain: "), path.name


def test_every_table_but_logs_names_columns_of_its_own_as_its_key() -> None:
    for table in schema_tables().values():
        assert set(table.key) <= {column.name for column in table.columns}, table.name
    without = {table.name for table in schema_tables().values() if not table.key}
    logs = {"conversation_history", "rejected_records", "changed_conversations", "stale_days"}
    assert without == logs | {"write_back_attempts"}


def test_a_columns_comment_marks_personal_data() -> None:
    columns = {c.name: c for t in schema_tables().values() for c in t.columns}
    for name in ("message", "message_text", "lead_email", "payload", "assignee_name"):
        assert columns[name].is_personal, name
    assert not columns["conversation_id"].is_personal


def test_a_version_changes_with_the_statement() -> None:
    assert sql_version("merge_users") == sql_version("merge_users")
    assert sql_version("merge_users") != sql_version("merge_users", "retire_users")
