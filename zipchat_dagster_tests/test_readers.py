"""Reading the live database while syncs run."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import duckdb
import pytest

from zipchat_dagster.readers import open_read_only
from zipchat_dagster.warehouse import Warehouse, lock
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster_tests.conftest import create_tables
from zipchat_dagster_tests.processes import HOLD, ready


def add_user(tables: Warehouse) -> None:
    create_tables(tables)
    with tables.connection() as connection:
        connection.execute("insert into zipchat.users (user_id) values (1)")


def test_a_notebook_reads_the_live_file_and_cannot_write(tmp_path: Path) -> None:
    tables = Warehouse(tmp_path / "warehouse.duckdb")
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


def test_a_reader_that_waits_logs_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "TELL_AFTER", 0.05)
    path = tmp_path / "warehouse.duckdb"
    add_user(Warehouse(path))
    # Left behind by a killed process; it no longer holds the lock.
    Path(f"{path}.lock.holder").write_text("999999 a killed one")
    said = Said()
    logging.getLogger("zipchat_dagster").addHandler(said)
    seen: list[object] = []

    def read() -> None:
        with open_read_only(path) as connection:
            seen.extend(connection.execute("select count(*) from zipchat.users").fetchall())

    reader = threading.Thread(target=read)
    with ready(HOLD, path) as holder:
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
    path = tmp_path / "warehouse.duckdb"
    add_user(Warehouse(path))
    monkeypatch.setattr(lock, "LOCK_TIMEOUT", 0.05)
    with (
        Warehouse(path).connection(purpose="raw_messages"),
        pytest.raises(WarehouseError, match=r"in use for 0 s by process \d+ \(raw_messages\)"),
        open_read_only(path),
    ):
        pass
    with Warehouse(path).connection():
        Path(f"{path}.lock.holder").unlink()  # informative only
        with pytest.raises(WarehouseError, match="by another program"), open_read_only(path):
            pass


class Said(logging.Handler):
    """Keeps the last log line, and signals that there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.something = threading.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
        self.something.set()
