"""Several programs on one database file: real processes, which start, end and are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.lock import InUseError, locked
from zipchat_dagster_tests.conftest import create_tables
from zipchat_dagster_tests.processes import HOLD, ready, run_together, start

WRITERS = 4
ROUNDS = 15

# Each holder of the lock writes a line to the journal, so the lines added while a process waited
# are the programs that were served before it. That takes no clock.
PROGRAM = """
import sys, time
from pathlib import Path
from zipchat_dagster.warehouse import Warehouse

path, journal, writer = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
tables = Warehouse(path)
print("ready", flush=True)
sys.stdin.readline()
went_before = []
for _ in range(int(sys.argv[4])):
    came = journal.stat().st_size
    with tables.connection(read_only=not writer) as connection:
        went_before.append(journal.stat().st_size - came)
        with journal.open("a") as lines:
            lines.write(".")
        if writer:
            connection.execute("begin")
            insert = "insert into zipchat.users (chat_id, user_id) values ($chat, $user)"
            for user in range(3):
                connection.execute(insert, {"chat": writer, "user": user})
            time.sleep(0.02)
            connection.execute("commit")
        else:
            (rows,) = connection.execute("select count(*) from zipchat.users").fetchone()
            assert rows % 3 == 0, rows
print(max(went_before))
"""


def test_writers_and_a_reader_are_served_in_the_order_of_arrival(tmp_path: Path) -> None:
    path, journal = tmp_path / "zipchat.duckdb", tmp_path / "journal"
    with Warehouse(path).transaction():
        journal.touch()
    waits = run_together(
        [start(PROGRAM, path, journal, writer, ROUNDS) for writer in range(WRITERS + 1)]
    )
    with Warehouse(path).connection() as connection:
        written = connection.execute("select count(*) from zipchat.users").fetchall()
    assert written == [(WRITERS * ROUNDS * 3,)]
    # Everybody else, and one that arrives while a ticket is drawn. With a lock that favours the last
    # holder, far more are served before.
    assert max(map(int, waits)) <= WRITERS + 2


def test_a_killed_holder_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "zipchat.duckdb"
    create_tables(Warehouse(path))
    with ready(HOLD, path) as holder:
        holder.kill()
    with Warehouse(path).connection() as connection:
        assert connection.execute("select count(*) from zipchat.users").fetchall() == [(0,)]


def test_a_killed_waiter_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "zipchat.duckdb"
    with Warehouse(path).connection():
        with start(HOLD, path) as waiter:
            while not list(tmp_path.glob("*.ticket.*")):
                assert waiter.poll() is None
            waiter.kill()
        assert list(tmp_path.glob("*.ticket.*"))
    with Warehouse(path).connection():
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "zipchat.duckdb",
            "zipchat.duckdb.lock",
            "zipchat.duckdb.lock.holder",
        ]


def test_a_folder_that_takes_no_files_is_not_waited_for_endlessly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zipchat_dagster.warehouse.lock.LOCK_TIMEOUT", 0.0)
    monkeypatch.setattr("zipchat_dagster.warehouse.lock.TELL_AFTER", 0.0)
    folder = Path("/proc")  # it says that there is no such file, as network folders can
    if not folder.is_dir():
        pytest.skip("no such folder here")
    with pytest.raises(InUseError), locked(folder / "warehouse.duckdb"):
        pass
