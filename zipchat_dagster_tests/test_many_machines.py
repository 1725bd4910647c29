"""Several machines that write to one lake at once: processes with their own folders and clocks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError
from zipchat_dagster_tests.conftest import NOW, Lakes, Project, derive_all, midnight, thorough

SINCE = midnight(NOW - timedelta(days=8))
DAYS = [f"{SINCE + timedelta(days=n):%Y-%m-%d}" for n in range(9)]

# Syncs everything. What PostgreSQL's restart interrupts is retried, as Dagster retries a step.
PROGRAM = """
import json, logging, sys, time
from datetime import datetime, timedelta
from pathlib import Path
from zipchat_dagster.client import BudgetDownError, Clock, ZipchatClient
from zipchat_dagster.sandbox import DEFAULT_KEY
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError

given = json.loads(sys.argv[1])


class Ahead(Clock):
    def time(self):
        return time.time() + given["ahead"]


log = logging.getLogger("zipchat_dagster")
since = datetime.fromisoformat(given["since"])
until = since + timedelta(days=len(given["days"]))
warehouse = Warehouse(given["database"], data_path=given["data_path"])
for attempt in range(10):
    try:
        with ZipchatClient(
            api_key=DEFAULT_KEY, chat_id=1, base_url=given["url"], clock=Ahead(),
            concurrency=2, logger=log, budget=given["budget"],
        ) as client:
            sync_users(client, warehouse)
            sync_conversations(client, warehouse, since=since, refresh=True, log=log)
            sync_messages(
                client, warehouse, since=since, until=until, days=given["days"],
                refresh=True, log=log,
            )
        break
    except (BudgetDownError, WarehouseError) as error:  # the budget or the lake is down
        print(error, file=sys.stderr)
        time.sleep(0.1)
else:
    sys.exit(1)
"""

# The columns that do not depend on who synced when.
SAME = {
    "raw_conversations": "* exclude (observed_at, shown_at)",
    "raw_messages": "* exclude (observed_at)",
    "conversation_history": "* exclude (observed_at)",
    "message_coverage": "chat_id, conversation_id, covered_from, stated_messages, failure",
    "users": "* exclude (observed_at, first_seen_at, last_seen_at)",
    "leads": "*",
    "escalations": "*",
    "escalation_metrics": "* exclude (computed_at, backlog_age_seconds_p50, backlog_age_seconds_max)",
    "listing_coverage": "chat_id, since, listed_total",
    "rejected_records": "*",
}
KEYS = {
    "raw_conversations": "conversation_id",
    "raw_messages": "message_id",
    "users": "user_id",
    "message_coverage": "conversation_id",
    "leads": "lead_id",
    "listing_coverage": "chat_id",
}


@thorough
def test_machines_that_write_at_once_store_the_same_as_one_machine_in_a_file(
    lakes: Lakes, tmp_path: Path
) -> None:
    chat = generate(seed=4, conversations=120, days=8, now=NOW, max_messages=20)
    sandbox = Sandbox(chat=chat, limit=100, window=1)
    reached = {count: Event() for count in (60, 150, 240)}

    def before_request(sandbox: Sandbox, _request: Any) -> None:
        for count, event in reached.items():
            if sandbox.stats()["requests"] >= count:
                event.set()

    sandbox.before_request = before_request
    name = lakes.create()
    warehouse = lakes.open(name)
    done = []
    with Reader(lakes.open(name)), serve(sandbox) as url:
        machines = [machine(tmp_path, url, lakes, name, ahead=ahead) for ahead in (0, 60, -60)]
        assert reached[60].wait(60)
        machines[0].kill()
        machines[0].communicate()
        assert machines[0].returncode == -signal.SIGKILL  # it was not done yet
        done.append(warehouse.maintain())
        assert reached[150].wait(60)
        lakes.server.restart()
        assert reached[240].wait(60)
        done.append(warehouse.maintain())
        for running in machines[1:]:
            _, errors = running.communicate(timeout=120)
            assert running.returncode == 0, errors[-3000:]
    sandbox.before_request, sandbox.limit = None, None
    assert sandbox.stats()["refused"] == 0  # they share the budget, which is in PostgreSQL too
    assert sum(counts["files_merged"] for counts in done) > 0

    for table, key in KEYS.items():
        found = f"select count(*), count(distinct {key}) from zipchat.{table}"
        ((rows, keys),) = Project(sandbox, warehouse).rows(found)
        assert rows == keys, table
    file = Warehouse(tmp_path / "one.duckdb")
    for tables in (warehouse, file):
        project = Project(sandbox, tables)
        project.sync(since=SINCE, refresh=True)
        project.assert_tables_agree()
        derive_all(tables, days=DAYS)
    warehouse.maintain()
    for table, columns in SAME.items():
        query = f"select {columns} from zipchat.{table} order by all"
        of_lake, of_file = (Project(sandbox, tables).rows(query) for tables in (warehouse, file))
        assert of_lake == of_file, table
    lakes.drop(name)


def machine(
    tmp_path: Path, url: str, lakes: Lakes, name: str, *, ahead: int
) -> subprocess.Popen[str]:
    folder = tmp_path / f"machine {ahead}"
    folder.mkdir()
    given = {
        "url": url,
        "ahead": ahead,
        "budget": f"postgresql://{lakes.server.user}@{lakes.server.host}:{lakes.server.port}/postgres",
        "database": lakes.address(name),
        "data_path": lakes.data_path,
        "since": SINCE.isoformat(),
        "days": DAYS,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(given)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


class Reader:
    """A dashboard: it reads in a loop, and never sees fewer messages than before."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._stopped = Event()
        self._problems: list[object] = []
        self._thread = Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        assert not self._problems

    def _run(self) -> None:
        seen = 0
        while not self._stopped.is_set():
            try:
                with self._warehouse.connection(read_only=True) as connection:
                    ((count,),) = connection.execute(
                        "select count(*) from zipchat.raw_messages"
                    ).fetchall()
            except WarehouseError:
                continue  # PostgreSQL is being restarted
            if count < seen:
                self._problems.append((seen, count))
            seen = count
            self._stopped.wait(0.05)
