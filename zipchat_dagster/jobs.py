"""The jobs that sync, check and estimate. `write_back_jobs.py` has those that write to Zipchat."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.assets.raw_conversations import ConversationsConfig
from zipchat_dagster.checks import CHECKS
from zipchat_dagster.estimate import estimate as estimate_range
from zipchat_dagster.partitions import daily, is_live_window
from zipchat_dagster.resources import WarehouseResource, ZipchatResource

sync_job = dg.define_asset_job(
    "sync_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="Syncs everything, from the API to the metrics, for one day or a range of days.",
)

# Dagster skips the checks of an asset whose step failed, and a freshness check that only a sync
# runs cannot notice that the sync has stopped.
checks_job = dg.define_asset_job(
    "checks_job",
    selection=dg.AssetSelection.checks(*CHECKS),
    description="Runs every check without syncing anything. Costs one request.",
)


class EstimateConfig(dg.Config):
    """The days of the backfill, as ISO dates."""

    first: str = Field(default="", description="First day. Default: ZIPCHAT_START_DATE.")
    last: str = Field(default="", description="Last day, inclusive. Default: today.")


@dg.op
def estimate(
    context: dg.OpExecutionContext,
    config: EstimateConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> str:
    """Estimate the cost of materializing everything for a range of days, in a few lines of text."""
    tables = warehouse.warehouse
    start = date.fromisoformat(daily.get_partition_keys()[0])
    today = datetime.now(ZoneInfo(tables.timezone)).date()
    first, last = _day(config.first, "first", start), _day(config.last, "last", today)
    if not start <= first <= last <= today:
        raise dg.Failure(
            f"There are no partitions from {first} to {last}. A backfill goes from {start}"
            f" (ZIPCHAT_START_DATE) to {today} (today) at most.",
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
            "requests": result.requests_spent,
        }
    )
    return answer


def _day(text: str, name: str, default: date) -> date:
    try:
        return date.fromisoformat(text.strip()) if text.strip() else default
    except ValueError:
        raise dg.Failure(
            f"{name}: “{text}” is not a date. Write one such as 2026-01-31.", allow_retries=False
        ) from None


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Estimates the cost of a backfill in requests and hours. Choose first and last in the"
        " Launchpad. Nothing is stored. Takes at most four requests, or four dozen if the API"
        " states no totals."
    ),
)
def estimate_job() -> None:
    """The job's only op."""
    estimate()
