"""The job that publishes a read-only copy of the database, and the sensor that starts it."""

import time
from collections.abc import Sequence

import dagster as dg

from zipchat_dagster.jobs import after_syncs
from zipchat_dagster.lanes import AssetJob
from zipchat_dagster.resources import WarehouseResource


@dg.op(out=dg.Out(dg.Nothing))
def publish(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Replace the published copy with one of the current database.

    Syncs wait while the file is copied, about a second per gigabyte on a local disk. Programs that
    have the previous copy open keep it.
    """
    began_at = time.monotonic()
    size = warehouse.warehouse.publish(warehouse.published)
    if size is None:
        context.log.info("Nothing to publish: dashboards can read this database itself, any time.")
        return
    context.add_output_metadata(
        {
            "path": dg.MetadataValue.path(str(warehouse.published)),
            "megabytes": round(size / 1e6, 1),
            "seconds": round(time.monotonic() - began_at, 2),
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Puts a read-only copy of the database at ZIPCHAT_PUBLISHED_DATABASE, for dashboards and"
        " notebooks. Reading the copy never blocks a sync."
    ),
)
def publish_job() -> None:
    """The job's only op."""
    publish()


def publish_sensor(sync_jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor that starts it after successful runs of these jobs."""
    return after_syncs(publish_job, sync_jobs, name="publish_sensor")
