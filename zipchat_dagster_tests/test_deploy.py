"""The files in deploy/: consistent with the project, and what compose.yaml starts works.

There is no container engine here. The processes of compose.yaml are started as it says, by its own
commands, variables and health checks, on this machine and on PostgreSQL.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import sqlalchemy
import yaml
from dagster_cloud_cli.config.models import load_dagster_cloud_yaml

from zipchat_dagster.demo import sandbox_environment
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, thorough
from zipchat_dagster_tests.postgres import Server, free_port, postgres, programs
from zipchat_dagster_tests.processes import wait_until

DEPLOY = PROJECT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
VALUES = yaml.safe_load((DEPLOY / "values.yaml").read_text("utf-8"))
OWN = yaml.safe_load((PROJECT / "dagster.yaml").read_text("utf-8"))
DAY = f"{NOW - timedelta(days=2):%Y-%m-%d}"
SECONDS = 180

LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {selector: $selector, executionMetadata: {tags: $tags}}) {
    ... on LaunchRunSuccess { run { id } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
SELECTOR = {
    "repositoryLocationName": "zipchat_dagster.definitions",
    "repositoryName": "__repository__",
    "jobName": "sync_job",
}


def graphql(url: str, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return httpx.post(f"{url}/graphql", json=body, timeout=90).raise_for_status().json()["data"]


def snake_case(value: Any) -> Any:
    """Helm's names as Dagster's own."""
    if isinstance(value, dict):
        return {re.sub("([A-Z])", r"_\1", k).lower(): snake_case(v) for k, v in value.items()}
    return [snake_case(item) for item in value] if isinstance(value, list) else value


def test_every_variant_queues_retries_and_monitors_as_the_project_does() -> None:
    on_postgres = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))
    assert {name: on_postgres[name] for name in OWN} == OWN
    helm = snake_case(
        {
            "telemetry": VALUES["telemetry"],
            "concurrency": VALUES["concurrency"],
            "run_retries": VALUES["dagsterDaemon"]["runRetries"],
            "run_monitoring": VALUES["dagsterDaemon"]["runMonitoring"],
            "retention": VALUES["retention"],
        }
    )
    for switched in ("concurrency", "retention"):
        assert helm[switched].pop("enabled")
    assert helm | VALUES["additionalInstanceConfig"] == OWN


def test_the_image_holds_what_the_tests_run_with() -> None:
    def pins(path: Path) -> set[str]:
        return set(path.read_text("utf-8").replace(" \\\n", "").split("\n"))

    locked = pins(PROJECT / "requirements.lock")
    for_compose = pins(DEPLOY / "requirements.lock")
    assert for_compose < locked
    assert for_compose < pins(DEPLOY / "requirements-kubernetes.lock")


def test_only_the_code_location_gets_the_key_and_only_the_webserver_has_a_port_on_loopback() -> (
    None
):
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "env_file" in service] == ["code"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"webserver": ["127.0.0.1:3000:3000"]}


def test_kubernetes_and_dagster_plus_run_the_same_image_with_the_same_settings() -> None:
    (location,) = load_dagster_cloud_yaml((DEPLOY / "dagster_cloud.yaml").read_text()).locations
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    assert location.image == "{repository}:{tag}".format(**deployment["image"])
    assert location.code_source
    assert location.code_source.module_name == deployment["dagsterApiGrpcArgs"][1]
    assert location.container_context
    agent = location.container_context["k8s"]
    assert agent["env_vars"] == [f"{item['name']}={item['value']}" for item in deployment["env"]]
    assert agent["env_secrets"] == [item["name"] for item in deployment["envSecrets"]]


class Deployment:
    """The Dagster services of compose.yaml as processes on this machine."""

    def __init__(self, home: Path, server: Server, settings: dict[str, str]) -> None:
        self.home = home
        self.settings = settings
        web, code = free_port(), free_port()
        self.url = f"http://127.0.0.1:{web}"
        self._here = {
            "0.0.0.0": "127.0.0.1",
            "3000": str(web),
            "4000": str(code),
            "host: code": "host: 127.0.0.1",
            "host=postgres port=5432": f"host=127.0.0.1 port={server.port}",
            "@postgres:5432": f"@127.0.0.1:{server.port}",
            "${PGPASSWORD:?Copy .env.example to .env and fill it in.}": server.password,
            "/data/": f"{home}/",
        }
        for name in ("dagster.yaml", "workspace.yaml", "fail_lost_runs.py"):
            (home / name).write_text(self.here((DEPLOY / name).read_text("utf-8")))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A text of deploy/ with this machine's hosts, ports, password and folder."""
        pattern = "|".join(map(re.escape, self._here))
        return re.sub(pattern, lambda match: self._here[match.group()], text)

    def start(self, *names: str) -> None:
        """Start services, and return once their health checks pass."""
        for name in names:
            with self.log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [self.here(word) for word in COMPOSE["services"][name]["command"]],
                    env=self.environment(name),
                    cwd=self.home,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        for name in names:
            wait_until(partial(self.is_healthy, name), f"{name} is healthy")

    def is_healthy(self, name: str) -> bool:
        ended = self._processes[name].poll() is not None
        assert not ended, f"{name} ended:\n{self.log(name).read_text()[-3000:]}"
        _, *check = COMPOSE["services"][name]["healthcheck"]["test"]
        answer = subprocess.run(
            [self.here(word) for word in check],
            env=self.environment(name),
            cwd=self.home,
            capture_output=True,
            check=False,
        )
        return answer.returncode == 0

    def kill(self, name: str) -> None:
        """All processes of a service at once, as when its container is killed."""
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def environment(self, name: str) -> dict[str, str]:
        """What the service finds in its container; only the code location has the settings."""
        theirs = COMPOSE["services"][name]["environment"]
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",  # looks for runs to retry
            **{key: self.here(value) for key, value in theirs.items()},
            **(self.settings if "env_file" in COMPOSE["services"][name] else {}),
        }

    def log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def statuses(self) -> list[str]:
        """Of all runs, the newest first."""
        runs = graphql(self.url, "{ runsOrError { ... on Runs { results { status } } } }")
        return [run["status"] for run in runs["runsOrError"]["results"]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """PostgreSQL with the role and the databases of databases.sql."""
    with postgres(tmp_path) as server:
        subprocess.run(
            [programs() / "psql", "--quiet", "--file", DEPLOY / "databases.sql", "postgres"],
            env=os.environ | server.environment | {"ROLE_PASSWORD": server.password},
            check=True,
        )
        yield server


@thorough
def test_a_run_that_dies_with_its_container_is_finished_after_the_restart(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = generate(seed=3, conversations=40, days=10, now=NOW, max_messages=8)
    is_reading, may_read = Event(), Event()

    def hold(*_: object) -> None:
        is_reading.set()
        may_read.wait(SECONDS)

    sandbox = Sandbox(chat=chat, limit=None, before_request=hold)
    with serve(sandbox) as url:
        settings = sandbox_environment(url, tmp_path / "unused.duckdb")
        del (
            settings["ZIPCHAT_DATABASE"],
            settings["ZIPCHAT_BUDGET_DATABASE"],
        )  # those of the service
        deployment = Deployment(tmp_path, server, settings)
        try:
            deployment.start("code")
            deployment.start("webserver", "daemon")
            tags = [{"key": "dagster/partition", "value": DAY}]
            launched = graphql(deployment.url, LAUNCH, selector=SELECTOR, tags=tags)["launchRun"]
            assert launched.get("run"), launched
            wait_until(is_reading.is_set, "the run has called the API")
            deployment.kill("code")
            may_read.set()
            assert deployment.statuses() == ["STARTED"]
            deployment.start("code")
            wait_until(lambda: deployment.statuses() == ["SUCCESS", "FAILURE"], "it is retried")
        finally:
            may_read.set()
            deployment.stop()
    monkeypatch.setenv("PGPASSWORD", server.password)
    location = deployment.environment("code")
    lake = Warehouse(location["ZIPCHAT_DATABASE"], data_path=location["ZIPCHAT_DATA_PATH"])
    query = "select count(*) from zipchat.raw_messages where partition_date = $day"
    ((messages,),) = Project(sandbox, lake).rows(query, day=DAY)
    assert messages > 0
    assert (tmp_path / "lake_report.html").exists()
    database_url = (
        f"postgresql+psycopg2://zipchat:{server.password}@127.0.0.1:{server.port}/dagster"
    )
    with sqlalchemy.create_engine(database_url).connect() as connection:
        runs = sqlalchemy.text("select status, partition from runs order by id")
        assert connection.execute(runs).all() == [("FAILURE", DAY), ("SUCCESS", DAY)]
    assert not list(tmp_path.rglob("*.db")), "Dagster keeps something in SQLite"
    for name in ("code", "webserver", "daemon"):
        log = deployment.log(name).read_text()
        assert server.password not in log
        assert DEFAULT_KEY not in log
