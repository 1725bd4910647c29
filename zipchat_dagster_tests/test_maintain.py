"""`maintain_job`: a file is compacted when that is worth it, and a lake's files are merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zipchat_dagster.database_jobs import maintain_job, publish_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import Lakes, Open, create_tables
from zipchat_dagster_tests.single import metadata_of

TABLES = "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'zipchat' order by all"
COMPLETENESS = "select count(*) from zipchat.message_completeness"


def maintain(resource: WarehouseResource, *, dry_run: bool) -> dict[str, Any]:
    """Run the job; returns its metadata."""
    result = maintain_job(Lane()).execute_in_process(
        resources={"warehouse": resource},
        run_config={"ops": {"maintain": {"config": {"dry_run": dry_run}}}},
    )
    return metadata_of(result)


def read(tables: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with tables.connection(read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_file_of_which_much_is_unused_is_compacted(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    resource = WarehouseResource(database=str(path))
    tables = resource.warehouse
    create_tables(tables)
    for statement in (
        "insert into zipchat.raw_messages (chat_id, message_id, message)"
        " select 1, i, md5(i::varchar) from range(100_000) r (i)",
        "delete from zipchat.raw_messages where message_id >= 10",
    ):
        with tables.connection() as connection:
            connection.execute(statement)
    path.chmod(0o640)
    schema = read(tables, TABLES)

    before = path.stat().st_size
    dry = maintain(resource, dry_run=True)
    assert path.stat().st_size == before
    assert dry["bytes_unused"] > 0.2 * before
    done = maintain(resource, dry_run=False)
    assert done["bytes_before"] == before
    assert done["bytes_after"] == path.stat().st_size < before / 2
    assert maintain(resource, dry_run=False)["bytes_after"] == done["bytes_after"]

    assert path.stat().st_mode & 0o777 == 0o640
    assert read(tables, TABLES) == schema
    assert read(tables, COMPLETENESS) == [(0,)]
    assert read(tables, "select count(*), max(message_id) from zipchat.raw_messages") == [(10, 9)]
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.lock"]


def test_rows_of_erased_people_that_a_sync_deleted_are_removed_from_the_disk(
    tmp_path: Path,
) -> None:
    gone = b"of-somebody-who-was-erased"
    resource = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"))
    files = (resource.warehouse.path, resource.published)
    with resource.warehouse.transaction() as transaction:
        transaction.needs_scrub()
    for statement in (
        f"insert into zipchat.raw_messages (chat_id, message) values (1, '{gone.decode()}')",
        "delete from zipchat.raw_messages",
    ):
        with resource.warehouse.connection() as connection:
            connection.execute(statement)
    resource.warehouse.publish(resource.published)
    for dry_run, is_there in ((True, True), (False, False)):
        maintain(resource, dry_run=dry_run)
        assert [gone in file.read_bytes() for file in files] == [is_there, is_there]
    assert not resource.warehouse.scrub()


def test_a_run_that_is_killed_while_compacting_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "warehouse.duckdb"
    tables = Warehouse(path)
    create_tables(tables)

    def killed(connection: Any, fresh: Path) -> None:
        fresh.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("zipchat_dagster.warehouse.file.WORTH_COMPACTING", -1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("zipchat_dagster.warehouse.file._copy_tables", killed)
        tables.maintain()
    assert read(tables, COMPLETENESS) == [(0,)]
    tables.maintain()
    assert read(tables, COMPLETENESS) == [(0,)]
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_jobs_work_on_a_lake(lakes: Lakes, tmp_path: Path) -> None:
    name = lakes.create()
    resource = WarehouseResource(database=lakes.address(name), data_path=lakes.data_path)
    for number in range(3):
        with resource.warehouse.transaction() as transaction:
            transaction.execute("store_setting", name=str(number), value="")
    dry, done = maintain(resource, dry_run=True), maintain(resource, dry_run=False)
    assert "files_merged" not in dry
    assert done["files_merged"] > 0
    assert done["data_files_after"] < done["data_files_before"] == dry["data_files_before"]
    assert publish_job(Lane()).execute_in_process(resources={"warehouse": resource}).success
    lakes.drop(name)


def test_maintenance_may_be_the_first_run_of_all(place: Open) -> None:
    assert place("new").maintain()
