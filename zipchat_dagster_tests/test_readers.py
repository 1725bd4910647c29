"""Reading beside the sync: published copies, and short looks at the live file."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from zipchat_dagster.readers import PUBLISH_JOB, PUBLISH_SENSOR, open_read_only
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse import Warehouse, lock
from zipchat_dagster.warehouse.warehouse import WarehouseError

HOLD = """
import sys
from pathlib import Path
from zipchat_dagster.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).connection(purpose="raw_messages"):
    print("held", flush=True)
    sys.stdin.readline()
"""
COUNT = """
import duckdb, sys
print(*duckdb.connect(sys.argv[1], read_only=True).execute("from zipchat.users").fetchall())
"""


def publish(path: Path, published: str = "") -> dg.ExecuteInProcessResult:
    resource = WarehouseResource(database=str(path), published_database=published)
    job = dg.Definitions(jobs=[PUBLISH_JOB], resources={"warehouse": resource})
    with dg.instance_for_test() as instance:
        publish_job = job.resolve_job_def("publish_job")
        return publish_job.execute_in_process(instance=instance, raise_on_error=False)


def add_user(tables: Warehouse) -> None:
    with tables.transaction():
        pass
    with tables.connection() as connection:
        connection.execute("insert into zipchat.users (user_id) values (1)")


def test_a_published_copy_is_opened_by_its_name_alone(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "zipchat.duckdb")
    add_user(tables)
    result = publish(tables.path)
    assert result.success
    copy = tmp_path / "zipchat_published.duckdb"
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("select count(*) from zipchat.users").fetchone() == (1,)
    metadata = _metadata(result)
    assert metadata["path"] == str(copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "zipchat.duckdb",
        "zipchat.duckdb.lock",
        "zipchat_published.duckdb",
    ]


def test_a_reader_keeps_the_copy_that_it_has_open(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "zipchat.duckdb")
    copy = tmp_path / "elsewhere" / "copy.duckdb"
    assert publish(tables.path, str(copy)).success  # before anything was synced
    with duckdb.connect(str(copy), read_only=True) as reader:
        add_user(tables)
        assert publish(tables.path, str(copy)).success
        assert reader.execute("select count(*) from zipchat.users").fetchone() == (0,)
        # DuckDB gives one process one and the same database for one path.
        other = [sys.executable, "-c", COUNT, str(copy)]
        shown = subprocess.run(other, capture_output=True, text=True, check=True)
        assert shown.stdout.strip()
    assert not copy.stat().st_mode & 0o222


def test_what_the_lock_protects_is_in_the_copy(tmp_path: Path) -> None:
    """Also what a killed writer left in the write-ahead log."""
    path = tmp_path / "zipchat.duckdb"
    add_user(Warehouse(path))
    killed = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]);"
        " c.execute('insert into zipchat.zipchat.users (user_id) values (2)'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert Path(f"{path}.wal").exists()
    assert publish(path).success
    with duckdb.connect(str(tmp_path / "zipchat_published.duckdb"), read_only=True) as reader:
        assert reader.execute("select count(*) from zipchat.users").fetchone() == (2,)


def test_a_copy_that_cannot_be_made_leaves_everything_as_it_was(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "zipchat.duckdb")
    add_user(tables)
    folder = tmp_path / "folder.duckdb"
    folder.mkdir()
    with pytest.raises(WarehouseError, match=r"folder\.duckdb could not be written"):
        tables.copy_to(folder)
    with pytest.raises(WarehouseError, match="is the database itself"):
        tables.copy_to(tables.path)
    assert not publish(tables.path, str(tables.path)).success
    assert not list(tmp_path.glob("*.unfinished"))
    add_user(tables)


def test_a_copy_is_asked_for_after_each_sync_and_after_nothing_else(tmp_path: Path) -> None:
    @dg.op
    def do_nothing() -> None:
        pass

    @dg.graph
    def nothing() -> None:
        do_nothing()

    jobs = {name: nothing.to_job(name) for name in ("sync_job", "other_job")}
    resource = WarehouseResource(database=str(tmp_path / "zipchat.duckdb"))
    everything = dg.Definitions(
        jobs=[*jobs.values(), PUBLISH_JOB],
        sensors=[PUBLISH_SENSOR],
        resources={"warehouse": resource},
    )
    assert PUBLISH_SENSOR.default_status is dg.DefaultSensorStatus.STOPPED
    with dg.instance_for_test() as instance:

        def tick(cursor: str | None) -> SensorExecutionData:
            context = dg.build_sensor_context(
                instance, cursor, repository_def=everything.get_repository_def()
            )
            return PUBLISH_SENSOR.evaluate_tick(context)

        cursor = tick(None).cursor  # switched on
        assert jobs["other_job"].execute_in_process(instance=instance).success
        assert jobs["sync_job"].execute_in_process(instance=instance).success
        asked = tick(cursor)
        newest = instance.get_runs(dg.RunsFilter(job_name="sync_job"))[0].run_id
        assert [request.run_key for request in asked.run_requests or []] == [newest]
        assert PUBLISH_SENSOR.job_name == "publish_job"


def test_a_notebook_reads_the_live_file_and_cannot_write(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "zipchat.duckdb")
    add_user(tables)
    with open_read_only(tables.path) as connection:
        assert connection.execute("select count(*) from zipchat.users").fetchone() == (1,)
        holder = Path(f"{tables.path}.lock.holder").read_text()
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("delete from zipchat.users")
    assert holder.split(" ", 1)[1] == "open_read_only"
    assert not Path(f"{tables.path}.lock.holder").exists()
    with pytest.raises(WarehouseError, match=r"none\.duckdb does not exist"):
        open_read_only(tmp_path / "none.duckdb").__enter__()
    assert not (tmp_path / "none.duckdb.lock").exists()


def test_a_reader_that_must_wait_says_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "TELL_AFTER", 0.05)
    path = tmp_path / "zipchat.duckdb"
    add_user(Warehouse(path))
    # A name that a killed process left behind is nobody's any more.
    Path(f"{path}.lock.holder").write_text("999999 a killed one")
    said = Said()
    logging.getLogger("zipchat_dagster").addHandler(said)
    seen: list[object] = []

    def read() -> None:
        with open_read_only(path) as connection:
            seen.extend(connection.execute("select count(*) from zipchat.users").fetchall())

    reader = threading.Thread(target=read)
    arguments = [sys.executable, "-c", HOLD, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        reader.start()
        assert said.something.wait(timeout=60)
        assert not seen
        holder.communicate("\n")
    reader.join(timeout=60)
    logging.getLogger("zipchat_dagster").removeHandler(said)
    assert seen == [(1,)]
    assert said.text == f"Waiting for {path}: process {holder.pid} (raw_messages) has it open."


def test_a_lock_that_is_held_for_too_long_names_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zipchat.duckdb"
    add_user(Warehouse(path))
    monkeypatch.setattr(lock, "LOCK_TIMEOUT", 0.05)
    with (
        Warehouse(path).connection(purpose="raw_messages"),
        pytest.raises(WarehouseError, match=r"in use for 0 s by process \d+ \(raw_messages\)"),
        open_read_only(path),
    ):
        pass
    with Warehouse(path).connection():
        Path(f"{path}.lock.holder").unlink()  # a courtesy, which nothing rests on
        with pytest.raises(WarehouseError, match="by another program"), open_read_only(path):
            pass


class Said(logging.Handler):
    """Remembers what is logged, and tells that something was."""

    def __init__(self) -> None:
        super().__init__()
        self.something = threading.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
        self.something.set()


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    outputs = [event.step_output_data for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in outputs[0].metadata.items()}
