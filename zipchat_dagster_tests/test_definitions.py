"""The project as Dagster loads and runs it: in its own processes, against the sandbox over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project

PROJECT = Path(__file__).resolve().parent.parent
FIRST = f"{NOW - timedelta(days=6):%Y-%m-%d}"
LAST = f"{NOW:%Y-%m-%d}"


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
    mine = {name: value for name, value in os.environ.items() if not name.startswith("ZIPCHAT_")}
    settings = {
        "DAGSTER_HOME": str(home),
        "ZIPCHAT_API_KEY": DEFAULT_KEY,
        "ZIPCHAT_CHAT_ID": "1",
        "ZIPCHAT_BASE_URL": url,
        "ZIPCHAT_DATABASE": str(home / "zipchat.duckdb"),
    }
    return {name: value for name, value in (mine | settings | changes).items() if value}


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One of the programs that stand beside this Python."""
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [str(program), *command[1:]],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def materialize(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = ["dagster", "asset", "materialize", "-m", "zipchat_dagster.definitions", *options]
    return run(command, environment)


def test_the_definitions_load_with_no_setting_at_all() -> None:
    code = "from zipchat_dagster.definitions import defs; defs.resolve_all_job_defs()"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ZIPCHAT_")}
    subprocess.run([sys.executable, "-c", code], env=clean, cwd=PROJECT, check=True)


def test_every_asset_says_what_it_is() -> None:
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


def test_a_range_from_the_command_line_is_one_run_and_the_tables_agree(
    tmp_path: Path, sandbox: Sandbox, url: str
) -> None:
    settings = environment(tmp_path, url, ZIPCHAT_START_DATE=f"{NOW - timedelta(days=20):%Y-%m-%d}")
    first = f"{NOW - timedelta(days=14):%Y-%m-%d}"
    answer = materialize(settings, "--select", "*", "--partition-range", f"{first}...{LAST}")
    assert answer.returncode == 0, answer.stderr[-3000:]
    project = Project(sandbox, Warehouse(tmp_path / "zipchat.duckdb"))
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
        ({"ZIPCHAT_API_KEY": ""}, "ZIPCHAT_API_KEY is not set."),
        ({"ZIPCHAT_API_KEY": "zc-wrong"}, "the API answered 401"),
        ({"ZIPCHAT_CHAT_ID": ""}, "ZIPCHAT_CHAT_ID is not set."),
        ({"ZIPCHAT_CHAT_ID": "shop"}, "ZIPCHAT_CHAT_ID: “shop” is no chat id."),
        ({"ZIPCHAT_CHAT_ID": "77"}, "Check ZIPCHAT_CHAT_ID (77) and ZIPCHAT_BASE_URL"),
        ({"ZIPCHAT_BASE_URL": "http://example.com/api"}, "would send the key unencrypted"),
        ({"ZIPCHAT_BASE_URL": "http://127.0.0.1:9/api"}, "Check ZIPCHAT_BASE_URL and the network."),
        ({"ZIPCHAT_START_DATE": "soon"}, "ZIPCHAT_START_DATE: “soon” is no date."),
    ],
)
def test_a_wrong_setting_gives_one_clear_sentence(
    tmp_path: Path, url: str, changes: dict[str, str], sentence: str
) -> None:
    answer = materialize(environment(tmp_path, url, **changes), "--select", "users")
    assert answer.returncode != 0
    assert sentence in answer.stdout + answer.stderr
    assert "Trying again" not in answer.stdout + answer.stderr


def test_derived_tables_are_made_without_the_api(
    tmp_path: Path, sandbox: Sandbox, url: str
) -> None:
    settings = environment(tmp_path, url)
    day = f"{NOW - timedelta(days=2):%Y-%m-%d}"
    assert materialize(settings, "--select", "*", "--partition", day).returncode == 0
    before = sandbox.stats()["requests"]
    offline = settings | {"ZIPCHAT_BASE_URL": "http://127.0.0.1:9/api"}
    for options in (
        ["--select", "escalations,leads"],
        ["--select", "escalation_metrics", "--partition", day],
    ):
        answer = materialize(offline, *options)
        assert answer.returncode == 0, answer.stderr[-2000:]
    assert sandbox.stats()["requests"] == before


def test_dg_knows_the_project(tmp_path: Path, url: str) -> None:
    settings = environment(tmp_path, url)
    assert run(["dg", "check", "defs"], settings).returncode == 0
    listed = run(["dg", "list", "defs"], settings)
    assert "escalation_metrics" in listed.stdout
    launched = run(["dg", "launch", "--assets", "users"], settings)
    assert launched.returncode == 0, launched.stderr[-2000:]


def test_a_schedule_fills_the_gap_since_the_newest_finished_day() -> None:
    from zipchat_dagster.definitions import defs
    from zipchat_dagster.schedules import daily_schedule, hourly_schedule

    with dg.instance_for_test() as instance:

        def tick(schedule: dg.ScheduleDefinition) -> tuple[str, str]:
            context = dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=NOW,
                repository_def=defs.get_repository_def(),
            )
            (request,) = schedule.evaluate_tick(context).run_requests or []
            tags = request.tags
            return (
                tags["dagster/asset_partition_range_start"],
                tags["dagster/asset_partition_range_end"],
            )

        yesterday = f"{NOW - timedelta(days=1):%Y-%m-%d}"
        assert tick(hourly_schedule) == (LAST, LAST)
        assert tick(daily_schedule) == (yesterday, yesterday)
        for day in (FIRST, LAST):
            event = dg.AssetMaterialization("escalation_metrics", partition=day)
            instance.report_runless_asset_event(event)
        assert tick(hourly_schedule) == (FIRST, LAST)
        assert tick(daily_schedule) == (FIRST, yesterday)


def test_a_tick_is_skipped_while_the_run_of_an_earlier_one_goes_on() -> None:
    with dg.instance_for_test() as instance:
        scheduled_run(instance)
        tick = evaluate(instance, at=NOW)
        assert not tick.run_requests
        assert "is not finished" in (tick.skip_message or "")


def test_a_run_that_died_with_the_machine_does_not_stop_the_schedule_for_ever() -> None:
    with dg.instance_for_test() as instance:
        run = scheduled_run(instance)
        instance.report_engine_event("Started process for run", run)
        assert not evaluate(instance, at=NOW + timedelta(hours=1)).run_requests
        assert evaluate(instance, at=NOW + timedelta(hours=3)).run_requests
        buried = instance.get_run_by_id(run.run_id)
        assert buried is not None
        assert buried.status is dg.DagsterRunStatus.FAILURE
        # Nobody repeats it either: the tick's own run does its work.
        (request,) = evaluate(instance, at=NOW + timedelta(hours=3)).run_requests or []
        assert request.tags["dagster/max_retries"] == "0"


def scheduled_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.add_run(
        dg.DagsterRun(
            job_name="sync_job",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/schedule_name": "hourly_schedule"},
        )
    )


def evaluate(instance: dg.DagsterInstance, *, at: datetime) -> ScheduleExecutionData:
    from zipchat_dagster.definitions import defs
    from zipchat_dagster.schedules import hourly_schedule

    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=defs.get_repository_def(),
    )
    return hourly_schedule.evaluate_tick(context)
