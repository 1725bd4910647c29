"""The schedules: what a tick requests, after an outage, during a run, and after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from zipchat_dagster.jobs import checks_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.notify import Notifier
from zipchat_dagster.resources import MetricSettings, WarehouseResource
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.sandbox.chat import WITHOUT_DELETIONS
from zipchat_dagster.schedules import build_schedules
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, midnight, thorough
from zipchat_dagster_tests.single import ASSETS, CHECKS, LANE, SYNC_JOB, api_at

FIRST = f"{NOW - timedelta(days=6):%Y-%m-%d}"
LAST = f"{NOW:%Y-%m-%d}"
WEEK = timedelta(days=7)


def schedules(lane: Lane = LANE) -> list[dg.ScheduleDefinition]:
    return build_schedules(lane, SYNC_JOB, checks_job(LANE, CHECKS))


hourly_schedule, daily_schedule, checks_schedule = schedules()


def definitions(folder: Path, url: str) -> dg.Definitions:
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[SYNC_JOB],
        schedules=schedules(),
        resources={
            "zipchat": api_at(url, folder),
            "warehouse": WarehouseResource(database=str(folder / "warehouse.duckdb")),
            "notifier": Notifier(),
            "metric_settings": MetricSettings(),
        },
        executor=dg.in_process_executor,
    )


EMPTY = definitions(Path(), "http://127.0.0.1:9/api")


def evaluate(
    instance: dg.DagsterInstance,
    schedule: dg.ScheduleDefinition = hourly_schedule,
    *,
    at: datetime = NOW,
) -> ScheduleExecutionData:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=EMPTY.get_repository_def(),
    )
    return schedule.evaluate_tick(context)


def requested_days(tick: ScheduleExecutionData) -> tuple[str, str]:
    (request,) = tick.run_requests or []
    tags = request.tags
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


def scheduled_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.add_run(
        dg.DagsterRun(
            job_name="sync_job",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/schedule_name": "hourly_schedule"},
        )
    )


def report_finished(instance: dg.DagsterInstance, *days: str) -> None:
    for day in days:
        event = dg.AssetMaterialization("escalation_metrics", partition=day)
        instance.report_runless_asset_event(event)


def test_a_tick_fills_the_gap_since_the_newest_finished_day() -> None:
    with dg.instance_for_test() as instance:
        yesterday = f"{NOW - timedelta(days=1):%Y-%m-%d}"
        assert requested_days(evaluate(instance, hourly_schedule)) == (LAST, LAST)
        assert requested_days(evaluate(instance, daily_schedule)) == (yesterday, yesterday)
        report_finished(instance, FIRST, LAST)
        assert requested_days(evaluate(instance, hourly_schedule)) == (FIRST, LAST)
        assert requested_days(evaluate(instance, daily_schedule)) == (FIRST, yesterday)


def test_the_daily_run_lists_the_last_days_again() -> None:
    def config(schedule: dg.ScheduleDefinition) -> Mapping[str, Any]:
        (request,) = evaluate(instance, schedule).run_requests or []
        dg.validate_run_config(EMPTY.resolve_job_def("sync_job"), request.run_config)
        return request.run_config

    def relist(days: int) -> Mapping[str, Any]:
        return {"ops": {"raw_conversations": {"config": {"relist_days": days}}}}

    with dg.instance_for_test() as instance:
        assert config(daily_schedule) == relist(7)
        assert config(hourly_schedule) == {}
        assert config(schedules(Lane(relist_days=30))[1]) == relist(30)


@thorough
def test_one_tick_catches_up_after_a_week_without_runs(tmp_path: Path) -> None:
    """The sandbox's clock is a week behind during the last sync before the schedules stop."""
    stopped_at = NOW - WEEK
    chat = generate(seed=5, conversations=60, days=14, now=stopped_at)
    sandbox = Sandbox(chat=chat, limit=None, clock_offset=-WEEK.total_seconds())
    project = Project(sandbox, Warehouse(tmp_path / "warehouse.duckdb"))
    project.sync(since=midnight(stopped_at - timedelta(days=15)))
    with sandbox.lock:
        synced_at = sandbox.now()
        sandbox.clock_offset = 0
        random = Random(5)
        for hours in range(7 * 24):
            chat.change(random, at=synced_at + timedelta(hours=hours), kinds=WITHOUT_DELETIONS)
    with dg.instance_for_test() as instance, serve(sandbox) as url:
        report_finished(instance, f"{stopped_at:%Y-%m-%d}")
        (request,) = evaluate(instance).run_requests or []
        job = definitions(tmp_path, url).resolve_job_def("sync_job")
        assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
        done = instance.get_materialized_partitions(dg.AssetKey("escalation_metrics"))
        assert done == {f"{stopped_at + timedelta(days=n):%Y-%m-%d}" for n in range(8)}
    # Changes of state without a message are re-read a few at a time (test_states.py).
    project.assert_tables_agree(states=False)


def test_a_tick_is_skipped_while_an_earlier_run_is_unfinished() -> None:
    with dg.instance_for_test() as instance:
        scheduled_run(instance)
        for _ in range(100):  # of a backfill
            waiting = dg.DagsterRun(job_name="sync_job", status=dg.DagsterRunStatus.NOT_STARTED)
            instance.add_run(waiting)
        tick = evaluate(instance, at=NOW)
        assert not tick.run_requests
        assert "is still unfinished" in (tick.skip_message or "")


def test_a_run_that_died_with_the_machine_does_not_block_the_schedule_forever() -> None:
    with dg.instance_for_test() as instance:
        run = scheduled_run(instance)
        instance.report_engine_event("Started process for run", run)
        assert not evaluate(instance, at=NOW + timedelta(hours=1)).run_requests
        assert evaluate(instance, at=NOW + timedelta(hours=3)).run_requests
        dead = instance.get_run_by_id(run.run_id)
        assert dead is not None
        assert dead.status is dg.DagsterRunStatus.FAILURE
        # And it is not retried: the tick's own run does its work.
        (request,) = evaluate(instance, at=NOW + timedelta(hours=3)).run_requests or []
        assert request.tags["dagster/max_retries"] == "0"
