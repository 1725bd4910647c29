"""Schedules; off until they are switched on, as is the convention.

Both syncs ask for all days since the newest one that was finished before, so that the first tick
after an outage fills the gap, however long it was; what is stored already costs nothing. A tick
that comes while the run of an earlier one is still going is skipped: the next one covers its days.
A run that was going when the machine went down stays "started" in Dagster for ever; it must not
stop the schedule for ever, so the tick that finds it silent for long reports it as failed.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import dagster as dg

from zipchat_dagster.assets.common import LIVE
from zipchat_dagster.assets.escalation_metrics import escalation_metrics
from zipchat_dagster.jobs import checks_job, sync_job
from zipchat_dagster.partitions import daily

# A run says something every half minute while it reads (sync.PROGRESS_EVERY), and at each wait for
# the rate limit; what it derives afterwards takes minutes at most.
SILENT_TOO_LONG = timedelta(hours=2)

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.schedule(
    job=sync_job,
    cron_schedule="5 * * * *",
    execution_timezone=daily.timezone,
    description="Keeps today fresh: users, conversations, messages, escalations and metrics.",
)
def hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return _catch_up(context, last=_day(context))


@dg.schedule(
    job=sync_job,
    cron_schedule="20 0 * * *",
    execution_timezone=daily.timezone,
    description="Closes yesterday, and restates the metrics of older days that changed.",
)
def daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return _catch_up(context, last=_day(context) - timedelta(days=1))


checks_schedule = dg.ScheduleDefinition(
    name="checks_schedule",
    job=checks_job,
    cron_schedule="50 * * * *",
    execution_timezone=daily.timezone,
    description="Runs every check, also when no sync runs, which is when they matter most.",
)

SCHEDULES = [hourly_schedule, daily_schedule, checks_schedule]


def _day(context: dg.ScheduleEvaluationContext) -> date:
    at: datetime = context.scheduled_execution_time
    return at.date()


def _catch_up(
    context: dg.ScheduleEvaluationContext, *, last: date
) -> dg.RunRequest | dg.SkipReason:
    """A run from the newest finished day before `last` (it may have been finished before its end)
    to `last`; from `last` itself when no day was ever finished."""
    unfinished = context.instance.get_runs(
        dg.RunsFilter(job_name=sync_job.name, statuses=UNFINISHED), limit=100
    )
    for run in unfinished:
        if "dagster/schedule_name" not in run.tags:
            continue
        if not _is_silent(context, run):
            return dg.SkipReason(
                f"Run {run.run_id} of an earlier tick is not finished; the next tick covers its"
                " days too."
            )
        context.instance.report_run_failed(
            run,
            f"Nothing was heard of this run for over {SILENT_TOO_LONG}: its process is gone. What"
            " it had stored is there; the schedule goes on.",
        )
    end = last.isoformat()
    finished = context.instance.get_materialized_partitions(escalation_metrics.key)
    start = max((day for day in finished if day < end), default=end)
    return dg.RunRequest(
        tags={
            "dagster/asset_partition_range_start": start,
            "dagster/asset_partition_range_end": end,
            "dagster/priority": LIVE,
            "dagster/max_retries": "0",  # the next tick does its work, and more
        }
    )


def _is_silent(context: dg.ScheduleEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether it has said nothing for so long that its process must be gone."""
    if run.status is not dg.DagsterRunStatus.STARTED:
        return False  # Dagster's run monitoring looks after those that never start
    newest = context.instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    now: datetime = context.scheduled_execution_time
    silence = now.timestamp() - newest[0].timestamp if newest else 0.0
    return silence >= SILENT_TOO_LONG.total_seconds()
