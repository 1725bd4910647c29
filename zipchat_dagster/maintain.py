"""The job that frees what the database no longer uses, and its schedule."""

import time

import dagster as dg
from pydantic import Field

from zipchat_dagster.copies import replace_copies
from zipchat_dagster.resources import WarehouseResource


class MaintainConfig(dg.Config):
    """Whether anything is changed."""

    dry_run: bool = Field(default=False, description="Only count what would be done.")


@dg.op(out=dg.Out(dg.Nothing))
def maintain(
    context: dg.OpExecutionContext, config: MaintainConfig, warehouse: WarehouseResource
) -> None:
    """Compact the file, or maintain the lake. The counts are in the metadata.

    Where the sync has deleted something of an erased person, remove that from the disk, too.
    """
    began_at = time.monotonic()
    tables = warehouse.warehouse
    if not config.dry_run and tables.scrub(lambda: replace_copies(warehouse)):
        context.log.info("Removed from the disk what was deleted of erased people.")
    counts = tables.maintain(dry_run=config.dry_run)
    context.log.info(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
    context.add_output_metadata({**counts, "seconds": round(time.monotonic() - began_at, 2)})


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Frees what the database no longer uses: compacts a file of which a fifth is unused; in a"
        " lake, merges small files and deletes what expired snapshots needed. Set dry_run in the"
        " Launchpad to only count."
    ),
)
def maintain_job() -> None:
    """The job's only op."""
    maintain()


def maintain_schedule(timezone: str) -> dg.ScheduleDefinition:
    """The schedule of the job, at night in this zone."""
    return dg.ScheduleDefinition(
        name="maintain_schedule",
        job=maintain_job,
        cron_schedule="40 3 * * *",
        execution_timezone=timezone,
        description="Runs maintain_job every night.",
    )
