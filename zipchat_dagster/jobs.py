"""The jobs that sync, check and estimate, and helpers for all jobs and their sensors."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import day_of
from zipchat_dagster.assets.raw_conversations import ConversationsConfig
from zipchat_dagster.estimate import estimate as estimate_range
from zipchat_dagster.lanes import AssetJob, Lane
from zipchat_dagster.partitions import is_live_window
from zipchat_dagster.sensors import is_ours

NOT_BEGUN = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
)


def op_job(
    op: dg.OpDefinition, *, name: str, description: str, tags: Mapping[str, str] | None = None
) -> dg.JobDefinition:
    """The job that runs one op."""
    return dg.GraphDefinition(name=name, node_defs=[op]).to_job(
        executor_def=dg.in_process_executor, description=description, tags=tags
    )


def sync_job(lane: Lane, assets: Sequence[dg.AssetsDefinition]) -> AssetJob:
    """The job that materializes every asset of one chat."""
    return dg.define_asset_job(
        lane.named("sync_job"),
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        description=(
            "Syncs everything, from the API to the metrics, for one day or a range of days."
        ),
    )


def checks_job(lane: Lane, checks: Sequence[dg.AssetChecksDefinition]) -> AssetJob:
    """The job that runs every check of one chat.

    Dagster skips the checks of an asset whose step failed, and a freshness check that only a sync
    runs cannot notice that the sync has stopped.
    """
    return dg.define_asset_job(
        lane.named("checks_job"),
        selection=dg.AssetSelection.checks(*checks),
        executor_def=dg.in_process_executor,
        description="Runs every check without syncing anything. Costs one request.",
    )


class EstimateConfig(dg.Config):
    """The days of the backfill, as ISO dates."""

    first: str = Field(default="", description="First day. Default: ZIPCHAT_START_DATE.")
    last: str = Field(default="", description="Last day, inclusive. Default: today.")


def estimate_job(lane: Lane) -> dg.JobDefinition:
    """The job that estimates a backfill of one chat."""

    @dg.op(
        name=lane.step("estimate"),
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
    )
    def estimate(context: dg.OpExecutionContext, config: EstimateConfig) -> str:
        """Estimates the cost of materializing everything for a range of days, in a few lines."""
        return _estimate(context, config, lane)

    return op_job(
        estimate,
        name=lane.named("estimate_job"),
        description=(
            "Estimates the cost of a backfill in requests and hours. Set the first and last day"
            " in the Launchpad. Stores nothing. Takes at most four requests, or some dozens if the"
            " API states no totals."
        ),
    )


def _estimate(context: dg.OpExecutionContext, config: EstimateConfig, lane: Lane) -> str:
    zipchat, tables = lane.zipchat(context), lane.warehouse(context)
    start = lane.start_date
    today = datetime.now(ZoneInfo(tables.timezone)).date()
    first = day_of(config.first, "first") or start
    last = day_of(config.last, "last") or today
    if not start <= first <= last <= today:
        raise dg.Failure(
            f"There are no partitions from {first} to {last}. A backfill can only include days from"
            f" {start} (ZIPCHAT_START_DATE) to {today} (today).",
            allow_retries=False,
        )
    since, until = (
        datetime.combine(day, time(), ZoneInfo(tables.timezone)).astimezone(UTC)
        for day in (first, last + timedelta(days=1))
    )
    is_live = is_live_window(since, until)
    with zipchat.client(context) as client:
        result = estimate_range(
            client,
            tables,
            since=since,
            until=until,
            reserve=0.0 if is_live else zipchat.reserve,
            most_states=ConversationsConfig().most_states if is_live else 0,
        )
    answer = f"{first} to {last}: {result}"
    context.log.info(answer)
    context.add_output_metadata(
        {
            "estimate": dg.MetadataValue.md(f"```\n{answer}\n```"),
            "requests_at_least": result.requests.low,
            "requests_at_most": result.requests.high,
            "hours_at_least": round(result.fastest_seconds / 3600, 2),
            "hours_at_most": round(result.slowest_seconds / 3600, 2),
            "requests_spent": result.requests_spent,
        }
    )
    return answer


def after_syncs(
    job: dg.JobDefinition | AssetJob, sync_jobs: Sequence[str], *, name: str
) -> dg.SensorDefinition:
    """The sensor that starts `job` when one of the other jobs has succeeded since it last began.

    With several chats, many syncs end within minutes. One run of `job` then follows all that ended
    since the last tick.
    """

    @dg.sensor(
        name=name,
        job_name=job.name,  # with `job`, Dagster 1.13.27 warns about a parameter of its own
        minimum_interval_seconds=30 if len(sync_jobs) == 1 else 300,
        description=(
            f"Starts {job.name} after each successful sync."
            if len(sync_jobs) == 1
            else f"Starts {job.name} after successful syncs, at most every five minutes."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance = context.instance
        # Another code location may have a job of the same name.
        newest = instance.get_run_records(dg.RunsFilter(job_name=job.name), limit=100)
        last = next((found for found in newest if is_ours(context, found.dagster_run)), None)
        if last and last.dagster_run.status in NOT_BEGUN:
            return dg.SkipReason(f"A run of {job.name} is about to start.")
        began_at = (last.start_time if last else None) or 0.0
        ended = instance.get_run_records(
            dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.SUCCESS],
                updated_after=datetime.fromtimestamp(began_at, UTC),
            ),
            limit=None if began_at else 100,
        )
        for record in ended:
            run = record.dagster_run
            ended_at = record.end_time or 0.0
            if run.job_name in sync_jobs and ended_at > began_at and is_ours(context, run):
                return dg.RunRequest(run_key=run.run_id)
        return dg.SkipReason(f"No sync has succeeded since {job.name} last started.")

    return sensor
