"""The schedules. They are off until you switch them on.

Both sync schedules request a run from the newest day that has metrics up to their own last day. The
first tick after an outage therefore fills the gap, however long it was. Days that are stored cost
next to nothing. A conversation that cannot be read does not hold this up: its day gets metrics
anyway, and every run tries the conversation again.

A tick is skipped while the run of an earlier tick is unfinished; the next one covers its days.
A run whose process died with the machine stays "started" in Dagster and would block the schedules
forever, so a tick that finds it silent for too long reports it as failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from zipchat_dagster.assets.common import LIVE
from zipchat_dagster.jobs import NOT_BEGUN
from zipchat_dagster.lanes import AssetJob, Lane

# A run logs every half minute while it reads (sync.PROGRESS_EVERY), and whenever it waits for the
# rate limit. Deriving tables afterwards takes minutes at most.
SILENT_TOO_LONG = timedelta(hours=2)


def build_schedules(
    lane: Lane, sync_job: AssetJob, checks_job: AssetJob
) -> list[dg.ScheduleDefinition]:
    """All schedules of one chat."""

    @dg.schedule(
        name=lane.named("hourly_schedule"),
        job=sync_job,
        cron_schedule=lane.hourly,
        execution_timezone=lane.timezone,
        description="Keeps today fresh: users, conversations, messages, escalations and metrics.",
    )
    def hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _catch_up(context, lane, last=_day(context))

    @dg.schedule(
        name=lane.named("daily_schedule"),
        job=sync_job,
        cron_schedule="20 0 * * *",
        execution_timezone=lane.timezone,
        description=(
            "Completes yesterday, and lists the last days again (ZIPCHAT_RELIST_DAYS) to find"
            " escalations that no newer message follows. Hourly runs cannot see those."
        ),
    )
    def daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        relist = {"config": {"relist_days": lane.relist_days}}
        return _catch_up(
            context,
            lane,
            last=_day(context) - timedelta(days=1),
            run_config={"ops": {lane.step("raw_conversations"): relist}},
        )

    checks_schedule = dg.ScheduleDefinition(
        name=lane.named("checks_schedule"),
        job=checks_job,
        cron_schedule="50 * * * *",
        execution_timezone=lane.timezone,
        description=(
            "Runs every check, even when no sync runs, so a sync that has stopped is noticed."
        ),
    )
    return [hourly_schedule, daily_schedule, checks_schedule]


def _day(context: dg.ScheduleEvaluationContext) -> date:
    at: datetime = context.scheduled_execution_time
    return at.date()


def _catch_up(
    context: dg.ScheduleEvaluationContext,
    lane: Lane,
    *,
    last: date,
    run_config: Mapping[str, Any] | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """A run up to `last`, from the newest day before it that has metrics, since these may be from
    before that day ended. If no day has metrics, a run of `last` alone."""
    schedules = [lane.named("hourly_schedule"), lane.named("daily_schedule")]
    unfinished = dg.RunsFilter(
        job_name=lane.named("sync_job"),
        statuses=[*NOT_BEGUN, dg.DagsterRunStatus.STARTED],
        tags={"dagster/schedule_name": schedules},
    )
    for run in context.instance.get_runs(unfinished):
        if not _is_silent(context, run):
            return dg.SkipReason(
                f"Run {run.run_id} of an earlier tick is still unfinished. The next tick covers"
                " these days too."
            )
        context.instance.report_run_failed(
            run,
            f"This run has logged nothing for more than {SILENT_TOO_LONG}, so its process must be"
            " gone. Everything it stored is kept, and the next run reads the rest.",
        )
    end = last.isoformat()
    finished = context.instance.get_materialized_partitions(lane.key("escalation_metrics"))
    start = max((day for day in finished if day < end), default=end)
    return dg.RunRequest(
        run_config=run_config,
        tags={
            "dagster/asset_partition_range_start": start,
            "dagster/asset_partition_range_end": end,
            "dagster/priority": LIVE,
            "dagster/max_retries": "0",  # the next tick does the same work, and more
        },
    )


def _is_silent(context: dg.ScheduleEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether the run has logged nothing for so long that its process must be gone."""
    if run.status is not dg.DagsterRunStatus.STARTED:
        return False  # Dagster's run monitoring takes care of runs that never start
    newest = context.instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    now: datetime = context.scheduled_execution_time
    silence = now.timestamp() - newest[0].timestamp if newest else 0.0
    return silence >= SILENT_TOO_LONG.total_seconds()
