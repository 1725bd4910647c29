"""Many Dagster runs at once: real processes on one instance, one API and one database file."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg

from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, thorough
from zipchat_dagster_tests.test_definitions import environment

DAYS = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in range(12)]

# Forked from a process that has loaded everything, because starting Python twenty times takes a
# minute. They start together and share the instance, but do not wait in Dagster's queue.
PROGRAM = """
import multiprocessing, sys
import dagster as dg


def sync(start, day):
    from zipchat_dagster.definitions import defs

    start.wait()
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def("sync_job").execute_in_process(
            instance=instance, partition_key=day, raise_on_error=False,
        )
    for event in result.all_events:
        if event.is_failure:
            print(day, event.step_key, event.message, event.event_specific_data, file=sys.stderr)
    sys.exit(not result.success)


if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["zipchat_dagster.definitions", "zipchat_dagster.report"])
    start = context.Event()
    runs = [context.Process(target=sync, args=(start, day)) for day in sys.argv[1:]]
    for run in runs:
        run.start()
    start.set()
    for run in runs:
        run.join()
    print([run.exitcode for run in runs])
"""


@thorough
def test_many_runs_at_once_all_succeed(tmp_path: Path) -> None:
    chat = generate(seed=4, conversations=200, days=len(DAYS) - 1, now=NOW, max_messages=20)
    sandbox = Sandbox(chat=chat, limit=120, window=2)
    program = tmp_path / "runs.py"
    program.write_text(PROGRAM)
    with serve(sandbox) as url:
        settings = environment(tmp_path, url, ZIPCHAT_START_DATE=DAYS[-1])
        with dg.DagsterInstance.from_config(str(tmp_path)):
            pass  # Dagster creates its files, which it cannot do several times at once
        answer = subprocess.run(
            [sys.executable, str(program), *DAYS],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
    failures = [line for line in answer.stderr.splitlines() if " - DEBUG - " not in line]
    assert answer.stdout.strip() == str([0] * len(DAYS)), "\n".join(failures)[-5000:]
    assert sandbox.stats()["refused"] == 0
    Project(sandbox, Warehouse(tmp_path / "warehouse.duckdb")).assert_tables_agree()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        done = instance.get_materialized_partitions(dg.AssetKey("escalation_metrics"))
    assert done == set(DAYS)
