"""Moving a file's tables into a lake and back, complete, repeatable, and without a request."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zipchat_dagster import move_cli
from zipchat_dagster.sandbox import Sandbox, generate
from zipchat_dagster.warehouse import Warehouse, move, schema_tables
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.lake import Lake
from zipchat_dagster.warehouse.migrations import VERSION
from zipchat_dagster_tests.conftest import (
    NOW,
    Lakes,
    Project,
    create_tables,
    derive_all,
    midnight,
    thorough,
)
from zipchat_dagster_tests.warehouse.write_version import VERSIONS

DAYS = 70  # three or four months of messages
SINCE = midnight(NOW - timedelta(days=DAYS))
ZONE = "Asia/Kolkata"


def a_sandbox() -> Sandbox:
    return Sandbox(chat=generate(seed=7, conversations=40, days=DAYS, now=NOW), limit=None)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with everything a sync stores, in another time zone than the default."""
    path = tmp_path_factory.mktemp("synced") / "warehouse.duckdb"
    warehouse = Warehouse(path, timezone=ZONE)
    Project(a_sandbox(), warehouse).sync(since=SINCE)
    derive_all(warehouse, days=[f"{NOW:%Y-%m-%d}"])
    return path


@pytest.fixture
def source(synced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(synced, tmp_path))


@pytest.fixture
def lake(lakes: Lakes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of an empty lake, for ZIPCHAT_DATABASE."""
    monkeypatch.setenv("ZIPCHAT_DATA_PATH", lakes.data_path)
    name = lakes.create(template="template1")
    yield lakes.address(name)
    lakes.drop(name)


def moved(source: Path | str, target: Path | str) -> int:
    return move_cli.main([str(source), str(target)])


def tables(database: Path | str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    found = {}
    with Warehouse(database).connection(read_only=True) as connection:
        for name, table in schema_tables().items():
            columns = ", ".join(column.name for column in table.columns)
            query = f"select {columns} from zipchat.{name} order by all"
            found[name] = connection.execute(query).fetchall()
    return found


def change(path: Path, statement: str) -> None:
    with Warehouse(path, timezone=ZONE).connection() as connection:
        connection.execute(statement)


@thorough
def test_a_file_becomes_a_lake_and_a_file_again(
    source: Path, lake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], lakes: Lakes
) -> None:
    before, content = tables(source), source.read_bytes()
    assert sum(1 for rows in before.values() if rows) >= 10
    assert moved(source, lake) == 0
    out, err = capsys.readouterr()
    assert re.search(rf"raw_messages +{len(before['raw_messages']):,} rows", out)
    assert "Not moved:" in out
    assert not err
    assert source.read_bytes() == content
    assert tables(lake) == before
    back = tmp_path / "back.duckdb"
    assert moved(lake, back) == 0
    assert tables(back) == before
    # A sync of each costs the same, and reads no messages again.
    cost = []
    for database in (source, lake, back):
        warehouse = Warehouse(database, data_path=lakes.data_path, timezone=ZONE)
        project = Project(a_sandbox(), warehouse)
        cost.append(project.sync(since=SINCE)[0])
        project.assert_tables_agree()
    assert cost[0] <= 3
    assert cost == [cost[0]] * 3


# A month of 30 MB, which does not compress much.
LONG_TEXTS = """
    insert into zipchat.raw_messages by name
    select
        1 as chat_id, range as message_id, range // 10 as conversation_id,
        '2026-03-01'::date + (range // 1000)::integer as partition_date, partition_date as created_at,
        string_agg(sha256(range || '-' || part), ' ' order by part) as message,
        json_object('message', message) as payload
    from range(30_000), unnest(range(15)) as parts (part)
    group by range
"""


@thorough
def test_a_month_of_long_texts_needs_little_memory(
    tmp_path: Path, lake: str, lakes: Lakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the usual memory is enough to move it, and then to merge its files."""
    monkeypatch.setattr("zipchat_dagster.warehouse.engine.MEMORY_LIMIT", "128MB")
    path, back = tmp_path / "warehouse.duckdb", tmp_path / "back.duckdb"
    create_tables(Warehouse(path))
    with duckdb.connect(str(path)) as connection:
        connection.execute(LONG_TEXTS)
    assert moved(path, lake) == 0
    tables = Warehouse(lake, data_path=lakes.data_path)
    assert tables.maintain(dry_run=False)["files_merged"] > 0
    assert moved(lake, back) == 0


# Moves, and is killed before the second batch of messages is committed.
KILLED = """
import os, signal, sys
from zipchat_dagster import move_cli
from zipchat_dagster.warehouse import move

move.ROWS_AT_ONCE = 50
replace, batches = move._Move._replace, []


def replace_or_die(self, table, condition):
    replace(self, table, condition)
    batches.extend([condition] if table == "raw_messages" else [])
    if len(batches) == 2:
        os.kill(os.getpid(), signal.SIGKILL)


move._Move._replace = replace_or_die
move_cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("to", [pytest.param("lake", marks=thorough), "file"])
def test_a_move_that_was_killed_goes_on_when_repeated(
    source: Path,
    to: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = request.getfixturevalue("lake") if to == "lake" else tmp_path / "target.duckdb"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(source), str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    half, whole = tables(target), tables(source)
    assert half["raw_conversations"] == whole["raw_conversations"]
    assert 0 < len(half["raw_messages"]) < len(whole["raw_messages"])
    assert not half["message_coverage"]  # nothing claims more than is there
    with (
        pytest.raises(WarehouseError, match=r"Only a part of .*warehouse.duckdb was moved"),
        Warehouse(target).transaction(),
    ):
        pass
    # Later changes of the source are moved too, and what has been moved is not moved again.
    change(source, "update zipchat.users set email = 'new@example.com'")
    replaced: list[str] = []
    replace = move._Move._replace

    def replace_and_tell(self: Any, table: str, condition: str) -> None:
        replaced.append(table)
        replace(self, table, condition)

    monkeypatch.setattr(move._Move, "_replace", replace_and_tell)
    assert moved(source, target) == 0
    assert tables(target) == tables(source)
    assert "raw_conversations" not in replaced
    assert "users" in replaced
    with Warehouse(target, timezone=ZONE).transaction():
        pass


def test_the_lock_of_both_sides_is_held(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipchat_dagster.warehouse.lock.LOCK_TIMEOUT", 0.05)
    target, refused = tmp_path / "target.duckdb", []
    verify = move._Move._verify

    def meanwhile(self: Any, table: str) -> None:
        for path in (source, target):
            with pytest.raises(WarehouseError, match=r"in use .* \(move\)"):
                change(path, "delete from zipchat.users")
            refused.append(path)
        verify(self, table)
        monkeypatch.undo()

    monkeypatch.setattr(move._Move, "_verify", meanwhile)
    assert moved(source, target) == 0
    assert refused == [source, target]


@thorough
def test_changes_by_another_program_during_a_move_are_noticed_and_moved_the_next_time(
    source: Path,
    lake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert moved(source, lake) == 0
    back, copy = tmp_path / "back.duckdb", move._Move._copy

    def copy_with_a_stranger(self: Any, table: str) -> None:
        copy(self, table)
        if table == "raw_messages":
            with Lake(lake, "")._attached() as stranger:
                stranger.execute("delete from zipchat.raw_messages where message_id % 7 = 0")

    with monkeypatch.context() as patch:
        patch.setattr(move._Move, "_copy", copy_with_a_stranger)
        assert moved(lake, back) == 1
    assert "raw_messages differs between the two sides" in capsys.readouterr().err
    assert moved(lake, back) == 0
    assert tables(back) == tables(lake)


def test_keys_that_the_source_holds_twice_are_reported(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in ("users", "sla_events"):
        change(source, f"insert into zipchat.{table} from zipchat.{table} limit 1")
    assert moved(source, tmp_path / "target.duckdb") == 0
    out = capsys.readouterr().out
    for table in ("users", "sla_events"):
        assert f"{table}: some keys are there twice, as they are in the source" in out
    assert tables(tmp_path / "target.duckdb") == tables(source)


# Refusals: one sentence, and nothing is changed


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    def check(source: object, target: object, message: str) -> None:
        assert move_cli.main([str(source), str(target)]) == 1
        out, err = capsys.readouterr()
        assert re.search(message, err), err
        assert len(err.splitlines()) == 1
        assert "secret" not in out + err

    return check


def test_a_target_with_other_data_is_refused(
    source: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    target = Path(shutil.copy(source, tmp_path / "target.duckdb"))
    change(target, "delete from zipchat.raw_conversations")
    refused(source, target, r"already has data \(\w+\). Nothing was changed")
    change(target, "insert into zipchat.warehouse_settings values ('moving_from', 'another')")
    before = tables(target)
    refused(source, target, r"The target has a part of another")
    assert tables(target) == before


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_a_source_of_another_version_is_refused(
    tmp_path: Path, refused: Callable[..., None], version: int
) -> None:
    source = tmp_path / "source.duckdb"
    with duckdb.connect(str(source)) as connection:
        script = VERSIONS / f"v{min(version, VERSION)}.sql"
        connection.execute(script.read_text(encoding="utf-8"))
        if version > VERSION:
            newer = f"set value = '{version}' where name = 'schema_version'"
            connection.execute(f"update zipchat.warehouse_settings {newer}")
    message = {0: r"older version .* Run maintain_job on it"}.get(version, "update the package")
    content = source.read_bytes()
    refused(source, tmp_path / "target.duckdb", message)
    assert source.read_bytes() == content
    if version == 0:
        Warehouse(source).maintain()
        assert moved(source, tmp_path / "target.duckdb") == 0


def test_names_that_lead_nowhere_are_refused(
    source: Path, tmp_path: Path, lake: str, refused: Callable[..., None]
) -> None:
    target = tmp_path / "target.duckdb"
    refused("", target, "FROM is missing")
    refused(tmp_path / "typo.duckdb", target, r"typo.duckdb does not exist")
    refused(source, source, "FROM and TO are both")
    refused(lake, f"{lake} sslmode=prefer", "FROM and TO are both lakes")
    assert not target.exists()
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    refused(tmp_path / "empty.duckdb", target, "holds no tables of zipchat_dagster")
    refused(source, f"{lake} password=secret", "contains a password")
    refused(source, re.sub(r"port=\d+", "port=1", lake), "PostgreSQL cannot be reached")
    refused(re.sub(r"dbname=\w+", "dbname=gone", lake), target, "PostgreSQL cannot be reached")
    refused(lake, target, "there is no lake in this database")
