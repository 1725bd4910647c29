"""What only a DuckDB file has: row groups, a log beside it, and unused space."""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from zipchat_dagster.client.budget_stores import SqliteStore
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import LastingError, WarehouseError
from zipchat_dagster_tests.conftest import disk_full_at
from zipchat_dagster_tests.processes import ready
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
            transaction.execute("store_setting", name="a", value="b")
            raise ValueError("stop")
    copy.write_bytes(warehouse.path.read_bytes())
    count = "select count(*) from zipchat.raw_conversations"
    assert rows(Warehouse(copy), count) == [(2,)]
    put(warehouse, conversation(id=3))
    assert rows(warehouse, count) == [(3,)]


def test_an_interrupt_among_small_transactions_is_not_hidden_by_what_follows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster would take a run that is terminated for one that failed, and try it again."""

    def fail(*_: object) -> None:
        raise duckdb.BinderException("still attached")

    with pytest.raises(KeyboardInterrupt), warehouse.small_transactions():
        monkeypatch.setattr(warehouse._engine, "_attach", fail)
        raise KeyboardInterrupt


def test_new_files_are_for_their_owner_only_and_existing_ones_keep_their_mode(
    tmp_path: Path,
) -> None:
    database, copy = tmp_path / "warehouse.duckdb", tmp_path / "copy.duckdb"

    def modes() -> dict[str, str]:
        names = (database.name, f"{database.name}.wal", copy.name, "budget.sqlite")
        found = [tmp_path / name for name in names if (tmp_path / name).exists()]
        return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in found}

    def use() -> dict[str, str]:
        SqliteStore(tmp_path / "budget.sqlite", "key", time.time).close()
        warehouse = Warehouse(database)
        warehouse.publish(copy)
        warehouse.maintain()
        with warehouse.small_transactions():
            with warehouse.transaction() as transaction:
                transaction.execute("store_setting", name="x", value=str(time.time_ns()))
            return modes()

    before = os.umask(0)
    try:
        assert use() == {
            "warehouse.duckdb": "600",
            "warehouse.duckdb.wal": "600",
            "copy.duckdb": "400",
            "budget.sqlite": "600",
        }
        for path in (database, copy, tmp_path / "budget.sqlite"):
            path.chmod(0o640)
        assert use() == {
            "warehouse.duckdb": "640",
            "warehouse.duckdb.wal": "640",
            "copy.duckdb": "440",
            "budget.sqlite": "640",
        }
    finally:
        os.umask(before)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" * 500, b"x" * 9000], ids=range(3))
def test_a_file_that_is_not_a_database_gives_one_clear_error_and_is_left_alone(
    warehouse: Warehouse, content: bytes
) -> None:
    warehouse.path.write_bytes(content)
    with pytest.raises(
        LastingError,
        match=r"warehouse\.duckdb cannot be opened \(IO Error: .*\)\. Set ZIPCHAT_DATABASE",
    ):
        put(warehouse, conversation())
    assert warehouse.path.read_bytes() == content


@pytest.mark.parametrize(
    ("error", "kind"), [(errno.EROFS, LastingError), (errno.ENOSPC, WarehouseError)]
)
def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[WarehouseError]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("zipchat_dagster.warehouse.lock._acquire", refuse)
    with pytest.raises(WarehouseError, match=re.escape(f"({os.strerror(error)}). Set")) as caught:
        put(Warehouse(tmp_path / "warehouse.duckdb"), conversation())
    assert type(caught.value) is kind


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(LastingError, match=r"its folder cannot be written to \(File exists\)"):
        put(Warehouse(tmp_path / "data" / "warehouse.duckdb"), conversation())


def test_a_truncated_file_gives_one_clear_error(warehouse: Warehouse) -> None:
    put(warehouse, *(conversation(id=i, share_url="x" * 300) for i in range(3000)))
    os.truncate(warehouse.path, warehouse.path.stat().st_size // 2)
    with pytest.raises(WarehouseError, match=r"cannot be .* \(IO Error: .*If the file is damaged"):
        rows(Warehouse(warehouse.path), "select payload from zipchat.raw_conversations")


def test_a_full_disk_loses_nothing_that_was_committed(warehouse: Warehouse) -> None:
    put(warehouse, conversation(id=1))
    message = r"File too large.* If the disk is full, free some space"
    with disk_full_at(warehouse.path.stat().st_size), pytest.raises(WarehouseError, match=message):
        put(warehouse, *(conversation(id=i, share_url="x" * 300) for i in range(2, 3000)))
    found = "select conversation_id from zipchat.raw_conversations"
    assert rows(warehouse, found) == [(1,)]
    put(warehouse, conversation(id=4000))
    assert rows(warehouse, found) == [(1,), (4000,)]


@pytest.mark.parametrize("size", [0, 5000])
def test_a_disk_that_is_full_from_the_start_leaves_no_broken_file(
    warehouse: Warehouse, size: int
) -> None:
    message = r"File too large.* If the disk is full"
    with disk_full_at(size), pytest.raises(WarehouseError, match=message):
        put(warehouse, conversation())
    put(warehouse, conversation(id=1))
    assert rows(warehouse, "select conversation_id from zipchat.raw_conversations") == [(1,)]


NOTEBOOK = (
    "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
)


def test_a_notebook_that_holds_the_file_is_waited_for_and_then_named(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(warehouse, conversation(id=1))
    now, held_until = time.monotonic(), [60.0]

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 100 * seconds
        if now > began_at + held_until[0] and holder.poll() is None:
            holder.communicate("\n")

    began_at = now
    monkeypatch.setattr(
        "zipchat_dagster.warehouse.file.time", SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    )
    with ready(NOTEBOOK, warehouse.path) as holder:
        held_until[0] = 1e9
        with pytest.raises(WarehouseError, match=f"PID {holder.pid}.* close it there"):
            put(warehouse, conversation(id=2))
        assert now - began_at >= 120
        began_at, held_until[0] = now, 60.0
        put(warehouse, conversation(id=3))
        assert now - began_at < 120
