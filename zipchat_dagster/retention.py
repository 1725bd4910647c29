"""The job that removes old texts, and its schedule."""

import time
from datetime import UTC, datetime

import dagster as dg

from zipchat_dagster.copies import replace_copies
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse.retention import redact_old_texts


@dg.op(out=dg.Out(dg.Nothing))
def remove_old_texts(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Remove the texts of messages older than ZIPCHAT_RETENTION_DAYS, from the disk too."""
    began_at = time.monotonic()
    tables = warehouse.warehouse
    if tables.privacy.retention_days is None:
        context.log.info("Texts are kept for ever: ZIPCHAT_RETENTION_DAYS is not set.")
        return
    count = redact_old_texts(tables, now=datetime.now(UTC))
    tables.scrub(lambda: replace_copies(warehouse))
    context.log.info(f"Removed the texts of {count:,} messages.")
    context.add_output_metadata(
        {"messages": count, "seconds": round(time.monotonic() - began_at, 2)}
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Removes the texts of messages older than ZIPCHAT_RETENTION_DAYS from the tables, the disk,"
        " the published copy and the export. Facts and metrics stay as they are. Without the"
        " setting, it does nothing."
    ),
)
def retention_job() -> None:
    """The job's only op."""
    remove_old_texts()


def retention_schedule(timezone: str, *, is_on: bool) -> dg.ScheduleDefinition:
    """The schedule of the job, at night in this zone; `is_on`: without being switched on."""
    status = dg.DefaultScheduleStatus
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=retention_job,
        cron_schedule="10 3 * * *",
        execution_timezone=timezone,
        default_status=status.RUNNING if is_on else status.STOPPED,
        description=(
            "Runs retention_job every night. It is on from the start if ZIPCHAT_RETENTION_DAYS is"
            " set."
        ),
    )
