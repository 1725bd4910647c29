"""What the UI and the terminal show of the tables: numbers, and no customer data."""

from __future__ import annotations

import pytest

from zipchat_dagster.warehouse import schema_tables, summaries
from zipchat_dagster_tests.conftest import Project, create_tables, derive_all


@pytest.mark.parametrize("table", list(summaries.PREVIEWED))
def test_no_previewed_column_holds_personal_data(table: str) -> None:
    columns = {column.name: column for column in schema_tables()[table].columns}
    for name in summaries.PREVIEWED[table]:
        assert "personal data" not in columns[name].description
        assert columns[name].type != "json"


def test_a_preview_shows_the_newest_five_rows(project: Project) -> None:
    project.sync()
    derive_all(project.warehouse)
    for table, columns in summaries.PREVIEWED.items():
        rows = summaries.preview(project.warehouse, table, chat_id=1)
        ((stored,),) = project.rows(f"select count(*) from zipchat.{table}")
        assert len(rows) == min(stored, 5) > 0
        assert all(list(row) == list(columns) for row in rows)
    newest = "select message_id from zipchat.raw_messages order by created_at desc limit 5"
    shown = summaries.preview(project.warehouse, "raw_messages", chat_id=1)
    assert [(int(row["message_id"]),) for row in shown] == project.rows(newest)


def test_a_preview_of_an_empty_table_is_empty(project: Project) -> None:
    create_tables(project.warehouse)
    assert summaries.preview(project.warehouse, "leads", chat_id=1) == []
