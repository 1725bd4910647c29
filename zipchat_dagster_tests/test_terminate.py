"""A run that is terminated while the API keeps it waiting: by Dagster's button, and by SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import httpx

from zipchat_dagster.sandbox import Fault, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, thorough
from zipchat_dagster_tests.postgres import free_port
from zipchat_dagster_tests.processes import wait_until
from zipchat_dagster_tests.test_definitions import environment
from zipchat_dagster_tests.test_deploy import LAUNCH, SELECTOR, graphql

DAYS = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in (6, 0)]
ANSWERED = 60  # reads of conversations in each run, after which the API answers none
IN_FLIGHT = 8
# Of patience. Calls without an answer would be retried for longer than that.
SECONDS = 90

FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
SYNC = SELECTOR | {
    "assetSelection": [{"path": [name]} for name in ("users", "raw_conversations", "raw_messages")],
    "assetCheckSelection": [],
}
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"


class Dagster:
    """A webserver that starts runs at once, as processes: without a queue, it needs no daemon."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        (home / "dagster.yaml").write_text(INSTANCE)
        self.instance = dg.DagsterInstance.from_config(str(home))
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster_webserver", "--port", str(port)),
                *("-m", "zipchat_dagster.definitions", "-d", str(PROJECT)),
            ],
            env=settings,
            cwd=home,
            start_new_session=True,
        )

    def is_up(self) -> bool:
        assert self._process.poll() is None
        with suppress(httpx.TransportError):
            return httpx.get(f"{self._url}/server_info").is_success
        return False

    def launch(self) -> str:
        """Start a sync; returns the run's id."""
        ends = zip(("start", "end"), DAYS, strict=True)
        tags = [{"key": f"dagster/asset_partition_range_{end}", "value": day} for end, day in ends]
        run_id: str = graphql(self._url, LAUNCH, selector=SYNC, tags=tags)["launchRun"]["run"]["id"]
        return run_id

    def terminate(self, run_id: str) -> None:
        """As the button does."""
        graphql(self._url, TERMINATE, run=run_id)

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run.status

    def events(self, run_id: str) -> list[str]:
        """The messages of the run's events."""
        logged = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        return [event.message or "" for event in logged if event]

    def process(self, run_id: str) -> int:
        """The id of the run's process."""
        found = [re.search(r"\(pid: (\d+)\)", message) for message in self.events(run_id)]
        return next(int(match[1]) for match in found if match)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.instance.dispose()


def has_ended(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return False
    return True


@thorough
def test_a_terminated_run_ends_and_the_next_one_reads_only_the_rest(tmp_path: Path) -> None:
    chat = generate(seed=6, conversations=200, days=5, now=NOW, max_messages=8)
    sandbox = Sandbox(chat=chat, limit=120, window=2, pagination="meta")
    project = Project(sandbox, Warehouse(tmp_path / "warehouse.duckdb"))

    def is_held(runs: int) -> bool:
        """Whether this many runs have stored all that the API gave them, and now wait."""
        if sandbox.stats()["by_endpoint"]["show"] != runs * (ANSWERED + IN_FLIGHT):
            return False
        stored = project.rows("select count(*) from zipchat.message_coverage")
        return stored == [(runs * ANSWERED,)]

    with serve(sandbox) as url:
        dagster = Dagster(tmp_path, environment(tmp_path, url, ZIPCHAT_START_DATE=DAYS[0]))
        try:
            wait_until(dagster.is_up, "Dagster is up")
            for runs, end in enumerate(("CANCELED", "FAILURE"), start=1):
                sandbox.add_fault(Fault("timeout", endpoint="show", after=ANSWERED, times=None))
                run_id = dagster.launch()
                wait_until(partial(is_held, runs), "the run waits", seconds=SECONDS)
                process = dagster.process(run_id)
                if end == "CANCELED":
                    dagster.terminate(run_id)
                else:
                    os.kill(process, signal.SIGTERM)
                wait_until(partial(has_ended, process), "it ends", seconds=SECONDS)
                assert dagster.status(run_id).value == end
                assert not any("retry" in message for message in dagster.events(run_id))
                sandbox.clear_faults()
            last = dagster.launch()
            wait_until(lambda: dagster.status(last) in FINISHED, "the last run ends")
            assert dagster.status(last) == dg.DagsterRunStatus.SUCCESS
        finally:
            dagster.stop()
    project.assert_tables_agree()
    stats = sandbox.stats()
    assert stats["by_endpoint"]["show"] == len(chat.conversations) + 2 * IN_FLIGHT
    assert stats["refused"] == 0
