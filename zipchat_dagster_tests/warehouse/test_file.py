"""What only a DuckDB file has: row groups, a log beside it, and unused space."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.warehouse.test_store import conversation, put, rows


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def test_closing_the_file_takes_no_more_memory_for_a_longer_table(warehouse: Warehouse) -> None:
    # DuckDB rewrites one row group at a time, in memory.
    for first in range(0, 9000, 1500):
        put(warehouse, *(conversation(id=i) for i in range(first, first + 1500)))
    with warehouse.connection() as connection:
        storage = "pragma_storage_info('zipchat.raw_conversations')"
        rows = connection.execute(
            f"select sum(count) from {storage} where column_name = 'conversation_id'"
            " and segment_type = 'BIGINT' group by row_group_id"
        ).fetchall()
        of_duckdb = connection.execute(
            "select name, value from duckdb_settings()"
            " where name in ('memory_limit', 'temp_directory') order by name"
        ).fetchall()
    assert sum(count for (count,) in rows) == 9000
    assert max(count for (count,) in rows) <= 4096
    assert of_duckdb == [
        ("memory_limit", "488.2 MiB"),
        ("temp_directory", f"{warehouse.path}.tmp"),
    ]


def test_small_transactions_are_committed_at_once_and_in_the_file_at_the_end(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    put(warehouse, conversation(id=1))
    file, copy = warehouse.path, tmp_path / "copy.duckdb"
    before = file.read_bytes()
    count = "select count(*) from zipchat.raw_conversations"
    with warehouse.small_transactions():
        put(warehouse, conversation(id=2))
        assert file.read_bytes() == before  # a checkpoint writes some MB
        with Warehouse(file).connection(read_only=True) as connection:  # another program
            assert connection.execute(count).fetchall() == [(2,)]
        assert rows(warehouse, count) == [(2,)]
    copy.write_bytes(file.read_bytes())
    assert rows(Warehouse(copy), count) == [(2,)]


def test_after_an_error_among_small_transactions_the_file_has_those_before_it(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    put(warehouse, conversation(id=1))
    copy = tmp_path / "copy.duckdb"
    with pytest.raises(ValueError, match="stop"), warehouse.small_transactions():
        put(warehouse, conversation(id=2))
        with warehouse.transaction() as transaction:
            transaction.execute("clear_leads", chat_id=1)
            raise ValueError("stop")
    copy.write_bytes(warehouse.path.read_bytes())
    count = "select count(*) from zipchat.raw_conversations"
    assert rows(Warehouse(copy), count) == [(2,)]
    put(warehouse, conversation(id=3))
    assert rows(warehouse, count) == [(3,)]
