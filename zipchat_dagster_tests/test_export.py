"""The Parquet export is complete and consistent, and replaced as a whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

import zipchat_dagster.warehouse.export
from zipchat_dagster.database_jobs import build_database_jobs, export_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster.warehouse.export import export_tables
from zipchat_dagster_tests.conftest import Open, Project
from zipchat_dagster_tests.single import metadata_of


def rows(source: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(f"select * from {source} order by all").fetchall()


def stored(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    with warehouse.connection(read_only=True) as connection:
        return connection.execute(f"select * from zipchat.{table} order by all").fetchall()


def test_the_files_hold_what_the_tables_hold(place: Open, project: Project, tmp_path: Path) -> None:
    project.warehouse = place()
    project.sync()
    counts = export_tables(project.warehouse, tmp_path / "out" / "export")
    assert counts["raw_messages"] > 100
    assert list(counts) == list(schema_tables())
    for table, count in counts.items():
        expected = stored(project.warehouse, table)
        assert len(expected) == count
        assert rows(f"'{tmp_path}/out/export/{table}.parquet'") == expected, table


def test_new_files_take_the_place_of_the_former_as_a_whole(
    project: Project, tmp_path: Path
) -> None:
    project.sync()
    (tmp_path / "link").symlink_to(project.warehouse.path.parent)
    folder = tmp_path / "link" / "export[1]"
    export_tables(project.warehouse, folder)
    first = folder.resolve()
    assert first.stat().st_mode & 0o077 == 0
    with project.warehouse.connection() as connection:
        connection.execute("delete from zipchat.raw_messages")
    export_tables(project.warehouse, folder)
    second = folder.resolve()
    assert rows(f"'{folder}/raw_messages.parquet'") == []
    assert rows(f"'{first}/raw_messages.parquet'") != []  # somebody may be reading them
    export_tables(project.warehouse, folder)
    kept = {path.resolve() for path in folder.parent.glob("export*.*") if path.is_dir()}
    assert kept == {second, folder.resolve()}


def test_a_longer_table_takes_no_more_memory(project: Project) -> None:
    # DuckDB gathers a row group in memory; with its default, 130,000 messages of 1 KB were too much.
    with project.warehouse.transaction():
        pass
    with project.warehouse.connection() as connection:
        connection.execute(
            "insert into zipchat.raw_messages (message_id) select * from range(9000)"
        )
    folder = project.warehouse.path.with_name("export")
    export_tables(project.warehouse, folder)
    groups = duckdb.execute(
        "select distinct row_group_id, row_group_num_rows from parquet_metadata(?)",
        [f"{folder}/raw_messages.parquet"],
    ).fetchall()
    assert sum(count for _, count in groups) == 9000
    assert max(count for _, count in groups) <= 4096


def test_exports_into_one_folder_at_once_all_succeed(project: Project) -> None:
    project.sync()
    folder = project.warehouse.path.with_name("export")

    def export(_: int) -> int:
        return export_tables(Warehouse(project.warehouse.path), folder)["raw_messages"]

    with ThreadPoolExecutor(4) as threads:
        counts = set(threads.map(export, range(4)))
    assert counts == {len(stored(project.warehouse, "raw_messages"))}
    assert len(rows(f"'{folder}/raw_messages.parquet'")) in counts


def test_an_export_that_fails_leaves_the_former_files(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.warehouse.path.with_name("export")
    export_tables(project.warehouse, folder)
    before = folder.resolve()

    def fail(*_: object) -> dict[str, int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipchat_dagster.warehouse.export, "_write", fail)
    with pytest.raises(WarehouseError, match=r"No space left on device.*unchanged"):
        export_tables(project.warehouse, folder)
    assert folder.resolve() == before
    assert [path for path in folder.parent.glob("export.*") if path.is_dir()] == [before]


def test_a_folder_that_the_job_did_not_write_is_left_alone(project: Project) -> None:
    folder = project.warehouse.path.with_name("export")
    folder.mkdir()
    with pytest.raises(WarehouseError, match="was not written by this job"):
        export_tables(project.warehouse, folder)
    assert list(folder.iterdir()) == []


def test_the_job_puts_them_beside_the_database(project: Project) -> None:
    project.sync()
    path = project.warehouse.path
    resource = WarehouseResource(database=str(path))
    result = export_job(Lane()).execute_in_process(resources={"warehouse": resource})
    metadata = metadata_of(result)
    folder = path.with_name(f"{path.stem}_export")
    assert metadata["path"] == str(folder)
    assert metadata["rows of users"] == len(stored(project.warehouse, "users")) > 0
    jobs = build_database_jobs(Lane(), ["sync_job"], has_retention=False)
    (_, export_sensor) = jobs.sensors or []
    assert export_sensor.default_status == dg.DefaultSensorStatus.STOPPED
