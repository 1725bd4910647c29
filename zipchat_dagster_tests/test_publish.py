"""The published copy: its content, and when it is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from zipchat_dagster.database_jobs import build_database_jobs, publish_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster_tests.single import metadata_of
from zipchat_dagster_tests.test_readers import add_user
from zipchat_dagster_tests.test_sensors import LOCATION, ended_run, sensor_context

PUBLISH_JOB = publish_job(Lane())
COUNT = """
import duckdb, sys
print(*duckdb.connect(sys.argv[1], read_only=True).execute("from zipchat.users").fetchall())
"""


def publish(path: Path, published: str = "") -> dg.ExecuteInProcessResult:
    resource = WarehouseResource(database=str(path), published_database=published)
    job = dg.Definitions(jobs=[PUBLISH_JOB], resources={"warehouse": resource})
    with dg.instance_for_test() as instance:
        resolved = job.resolve_job_def("publish_job")
        return resolved.execute_in_process(instance=instance, raise_on_error=False)


def sensor_after(syncs: list[str]) -> dg.SensorDefinition:
    jobs = build_database_jobs(Lane(), syncs, has_retention=False)
    return next(sensor for sensor in jobs.sensors or [] if sensor.name == "publish_sensor")


def test_a_published_copy_is_opened_by_its_name_alone(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "warehouse.duckdb")
    add_user(tables)
    result = publish(tables.path)
    assert result.success
    copy = tmp_path / "warehouse_published.duckdb"
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("select count(*) from zipchat.users").fetchone() == (1,)
    metadata = metadata_of(result)
    assert metadata["path"] == str(copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "warehouse.duckdb",
        "warehouse.duckdb.lock",
        "warehouse_published.duckdb",
    ]


def test_a_reader_keeps_the_copy_it_has_open(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "warehouse.duckdb")
    copy = tmp_path / "elsewhere" / "copy.duckdb"
    assert publish(tables.path, str(copy)).success  # before anything was synced
    with duckdb.connect(str(copy), read_only=True) as reader:
        add_user(tables)
        assert publish(tables.path, str(copy)).success
        assert reader.execute("select count(*) from zipchat.users").fetchone() == (0,)
        # In another process: within one, DuckDB opens each path only once.
        other = [sys.executable, "-c", COUNT, str(copy)]
        shown = subprocess.run(other, capture_output=True, text=True, check=True)
        assert shown.stdout.strip()
    assert not copy.stat().st_mode & 0o222


def test_changes_that_a_killed_writer_committed_are_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    add_user(Warehouse(path))
    killed = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]);"
        " c.execute('insert into zipchat.users (user_id) values (2)'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert Path(f"{path}.wal").exists()
    assert publish(path).success
    with duckdb.connect(str(tmp_path / "warehouse_published.duckdb"), read_only=True) as reader:
        assert reader.execute("select count(*) from zipchat.users").fetchone() == (2,)


def test_a_copy_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "warehouse.duckdb")
    add_user(tables)
    folder = tmp_path / "folder.duckdb"
    folder.mkdir()
    for target in (folder, tables.path / "copy.duckdb"):
        with pytest.raises(WarehouseError, match=rf"{target.name} could not be written"):
            tables.publish(target)
    with pytest.raises(WarehouseError, match="is the database itself"):
        tables.publish(tables.path)
    assert not publish(tables.path, str(tables.path)).success
    assert not list(tmp_path.glob("*.unfinished"))
    add_user(tables)


def test_a_copy_is_made_after_each_sync_and_after_nothing_else(tmp_path: Path) -> None:
    @dg.op
    def do_nothing() -> None:
        pass

    @dg.graph
    def nothing() -> None:
        do_nothing()

    syncs = [nothing.to_job(name) for name in ("sync_job", "shop_de_sync_job")]
    other = nothing.to_job("other_job")
    publish_sensor = sensor_after([sync.name for sync in syncs])
    assert publish_sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert (publish_sensor.job_name, publish_sensor.minimum_interval_seconds) == (
        "publish_job",
        300,
    )
    assert sensor_after(["sync_job"]).minimum_interval_seconds == 30
    with dg.instance_for_test() as instance:

        def requested() -> list[str | None]:
            tick = publish_sensor.evaluate_tick(dg.build_sensor_context(instance))
            return [request.run_key for request in tick.run_requests or []]

        assert other.execute_in_process(instance=instance).success
        assert requested() == []
        runs = [sync.execute_in_process(instance=instance).run_id for sync in syncs]
        assert requested() == runs[-1:]
        queued = instance.create_run_for_job(PUBLISH_JOB, status=dg.DagsterRunStatus.NOT_STARTED)
        assert requested() == []
        instance.report_run_canceled(queued)
        assert requested() == runs[-1:]
        assert nothing.to_job("publish_job").execute_in_process(instance=instance).success
        assert other.execute_in_process(instance=instance).success
        assert requested() == []
        last = syncs[0].execute_in_process(instance=instance).run_id
        assert requested() == [last]


def test_runs_of_another_code_location_are_ignored() -> None:
    """It may have jobs of the same names."""
    publish_sensor = sensor_after(["sync_job"])
    with dg.instance_for_test() as instance:

        def end(job: str, location: str) -> str:
            return ended_run(instance, job, dg.DagsterEventType.RUN_SUCCESS, location=location)

        def requested() -> list[str | None]:
            tick = publish_sensor.evaluate_tick(sensor_context(instance))
            return [request.run_key for request in tick.run_requests or []]

        end("sync_job", "their_location")
        assert requested() == []
        ours = end("sync_job", LOCATION)
        end("publish_job", "their_location")
        assert requested() == [ours]
