"""The project as Dagster loads and runs it: in its own processes, against the sandbox over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster import demo
from zipchat_dagster.assets.escalation_metrics import escalation_metrics
from zipchat_dagster.assets.facts import facts
from zipchat_dagster.assets.leads import leads
from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, midnight, thorough, without_settings
from zipchat_dagster_tests.single import LANE

PROJECT = Path(__file__).resolve().parent.parent
FIRST = f"{NOW - timedelta(days=6):%Y-%m-%d}"
LAST = f"{NOW:%Y-%m-%d}"
MALFORMED = {
    "ZIPCHAT_CHAT_ID": "shop",
    "ZIPCHAT_BASE_URL": "http://example.com/api",
    "ZIPCHAT_RESERVE": "5",
}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    chat = generate(seed=8, conversations=80, days=12, now=NOW, max_messages=30)
    return Sandbox(chat=chat, limit=None, pagination="meta")


@pytest.fixture(scope="module")
def url(sandbox: Sandbox) -> Iterator[str]:
    with serve(sandbox) as url:
        yield url


def environment(home: Path, url: str, **changes: str) -> dict[str, str]:
    (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    settings = {
        "DAGSTER_HOME": str(home),
        "ZIPCHAT_API_KEY": DEFAULT_KEY,
        "ZIPCHAT_CHAT_ID": "1",
        "ZIPCHAT_BASE_URL": url,
        "ZIPCHAT_DATABASE": str(home / "warehouse.duckdb"),
    }
    return {
        name: value for name, value in (without_settings() | settings | changes).items() if value
    }


def run(
    command: list[str], environment: dict[str, str], *, folder: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """One of the programs installed beside this Python."""
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [str(program), *command[1:]],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def materialize(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = ["dagster", "asset", "materialize", "-m", "zipchat_dagster.definitions", *options]
    # In a folder without a .env, since a developer's would override these settings.
    home = Path(environment["DAGSTER_HOME"])
    return run([*command, "-d", str(PROJECT)], environment, folder=home)


def test_the_definitions_load_with_no_setting_at_all() -> None:
    code = "from zipchat_dagster.definitions import defs; defs.resolve_all_job_defs()"
    subprocess.run([sys.executable, "-c", code], env=without_settings(), cwd=PROJECT, check=True)


def test_every_asset_is_described() -> None:
    from zipchat_dagster.definitions import defs

    graph = defs.resolve_asset_graph()
    for node in graph.asset_nodes:
        assert "Cost:" in (node.description or ""), node.key
        assert node.group_name in {"zipchat_raw", "zipchat_metrics"}
        assert node.owners
        assert node.kinds
        if node.key.path[-1] != "escalation_report":
            schema: Any = node.metadata["dagster/column_schema"]
            assert all(column.description for column in schema.columns)
            assert node.code_version
    messages: Any = graph.get(dg.AssetKey("raw_messages")).metadata["dagster/column_schema"]
    tagged = {column.name for column in messages.columns if "personal_data" in column.tags}
    assert tagged == {"message", "message_text", "payload"}


@thorough
def test_a_range_from_the_command_line_is_one_run_and_the_tables_agree(
    tmp_path: Path, sandbox: Sandbox, url: str
) -> None:
    settings = environment(tmp_path, url, ZIPCHAT_START_DATE=f"{NOW - timedelta(days=20):%Y-%m-%d}")
    first = f"{NOW - timedelta(days=14):%Y-%m-%d}"
    answer = materialize(settings, "--select", "*", "--partition-range", f"{first}...{LAST}")
    assert answer.returncode == 0, answer.stderr[-3000:]
    project = Project(sandbox, Warehouse(tmp_path / "warehouse.duckdb"))
    project.assert_tables_agree()
    days = "select count(distinct partition_date) from zipchat.escalation_metrics"
    assert project.rows(days) == [(15,)]
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_runs_count() == 1
        done = instance.get_materialized_partitions(dg.AssetKey("escalation_metrics"))
        assert len(done) == 15
    assert DEFAULT_KEY not in answer.stdout + answer.stderr
    before = sandbox.stats()["requests"]
    again = materialize(settings, "--select", "*", "--partition", first)
    assert again.returncode == 0
    assert sandbox.stats()["requests"] - before <= 3
    project.assert_tables_agree()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"ZIPCHAT_API_KEY": ""}, "ZIPCHAT_API_KEY: not set.", marks=thorough),
        (MALFORMED, "\nZIPCHAT_RESERVE: 5 is not between 0 and 0.9.\n"),
    ],
)
def test_a_run_with_a_wrong_setting_ends_with_one_clear_sentence(
    tmp_path: Path, url: str, changes: dict[str, str], sentence: str
) -> None:
    answer = materialize(environment(tmp_path, url, **changes), "--select", "users")
    assert answer.returncode != 0
    assert sentence in answer.stdout + answer.stderr
    assert "Trying again" not in answer.stdout + answer.stderr


def test_derived_tables_need_no_api(project: Project) -> None:
    # By the hour, the last days of this chat may be without an escalation.
    chat = project.sandbox.chat
    others = [found for found in chat.conversations.values() if not found.escalations]
    chat.escalate(max(others, key=lambda found: found.last_message_at).id, at=NOW)
    project.sync(since=midnight(NOW - timedelta(days=6)))
    path = project.warehouse.path
    result = dg.materialize(
        [factory(LANE) for factory in (facts, leads, escalation_metrics)],
        partition_key=LAST,
        resources={
            "zipchat": ZipchatResource(chat_id="1", base_url="http://127.0.0.1:9/api"),
            "warehouse": WarehouseResource(database=str(path)),
            "metric_settings": MetricSettings(),
        },
    )
    assert result.success
    for table in ("escalations", "conversation_facts", "leads", "escalation_metrics"):
        assert project.rows(f"select count(*) > 0 from zipchat.{table}") == [(True,)]

    # Numbers, so that Dagster plots them over the partitions
    shown = {
        event.asset_key.to_user_string(): {name: one.value for name, one in event.metadata.items()}
        for event in result.asset_materializations_for_node("escalation_metrics")
        if event.asset_key
    }
    figures = ["escalations", "escalation_rate", "backlog_at_day_end"]
    assert [tuple(shown["escalation_metrics"][name] for name in figures)] == project.rows(
        "select escalations, round(escalation_rate, 4), backlog_at_day_end"
        " from zipchat.escalation_metrics where dimension = 'all'"
    )
    (rows,) = project.rows("select count(*) from zipchat.activity_by_hour")[0]
    assert shown["activity_by_hour"]["dagster/partition_row_count"] == rows > 0


@thorough
def test_dg_knows_the_project(tmp_path: Path, url: str) -> None:
    settings = environment(tmp_path, url)
    assert run(["dg", "check", "defs"], settings).returncode == 0
    launched = run(["dg", "launch", "--assets", "users"], settings)
    assert launched.returncode == 0, launched.stderr[-2000:]


def test_dagster_yaml_is_understood_as_intended(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        concurrency = instance.get_concurrency_config()
        pools, queue = concurrency.pool_config, concurrency.run_queue_config
        # With `op`, a run that waits for a pool takes a whole core.
        assert pools.pool_granularity is not None
        assert pools.pool_granularity.value == "run"
        assert pools.default_pool_limit is not None
        assert queue is not None
        (backfills,) = queue.tag_concurrency_limits
        assert backfills["key"] == "dagster/backfill"
        # The hourly run always finds a free slot in the pools and in the queue.
        assert backfills["limit"] < pools.default_pool_limit <= queue.max_concurrent_runs
        # The run of a dead process is started again, but not that of a failed step.
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries > 0
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled


def test_make_dev_prints_its_source_and_passes_options_to_dagster(tmp_path: Path, url: str) -> None:
    settings = environment(tmp_path, url, ZIPCHAT_API="sandbox")
    answer = run(["python", "-m", "zipchat_dagster.demo", "dev", "--help"], settings)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Using the sandbox, with the database")
    assert "--port" in answer.stdout


def test_make_dev_on_a_sandbox_leaves_no_materializations_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would count as those of your own chat as soon as there is a key."""
    homes = []

    def look(_: list[str], environment: dict[str, str]) -> int:
        home = Path(environment["DAGSTER_HOME"])
        assert (home / "dagster.yaml").read_text() == (PROJECT / "dagster.yaml").read_text()
        homes.append(home)
        return 0

    for name in [name for name in os.environ if name.startswith("ZIPCHAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("dotenv.dotenv_values", lambda _: {})
    monkeypatch.setattr(demo, "DEV_DATABASE", tmp_path / "dev.duckdb")
    monkeypatch.setattr(demo, "_run", look)
    assert (demo.dev(), demo.dev()) == (0, 0)
    assert len({*homes, PROJECT}) == 3
