"""Reading without being in the way: a published copy for dashboards, a short look for notebooks.

DuckDB lets nobody into a file that somebody writes, and nobody write where somebody reads. So
dashboards get a copy of their own, which `publish_job` replaces as a whole. Open it with whatever
reads DuckDB, for as long as you like; what is open stays as it was, reconnect for the newer copy:

    duckdb.connect("data/zipchat_published.duckdb", read_only=True)

A notebook that must see the newest rows takes the live file, and every sync waits for it meanwhile:

    with open_read_only("data/zipchat.duckdb") as connection:
        backlog = connection.execute("from zipchat.escalations where is_open").df()
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dagster as dg
import duckdb

from zipchat_dagster.jobs import sync_job
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.warehouse import WarehouseError


@contextmanager
def open_read_only(path: str | Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The live database, read-only, while the lock beside it is held. Times are in UTC.

    While it is open, no sync can write: fetch what you need and leave the block. When somebody
    else holds the lock, this waits, and a warning in the log says which process that is.

    Raises:
        WarehouseError: there is no such file, or it stays in use for too long.
    """
    database = Path(path).expanduser()
    if not database.exists():
        raise WarehouseError(f"{database} does not exist. Was anything synced into it yet?")
    reader = Warehouse(database)
    with reader.connection(read_only=True, purpose="open_read_only") as connection:
        yield connection


@dg.op(out=dg.Out(dg.Nothing))
def publish(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Replace the published copy by one of the database as it is now.

    Syncs wait while the file is copied, about a second for each gigabyte on a local disk. Whoever
    has the earlier copy open keeps it.
    """
    began_at = time.monotonic()
    size = warehouse.warehouse.copy_to(warehouse.published)
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
        "Put a read-only copy of the database beside it (ZIPCHAT_PUBLISHED_DATABASE), for"
        " dashboards and notebooks that must neither block the sync nor wait for it."
    ),
)
def publish_job() -> None:
    """The job of one op."""
    publish()


PUBLISH_JOB: Final = publish_job


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[sync_job],
    request_job=publish_job,
    description=(
        "After each successful run of sync_job, publish_job puts a new copy in the place of the"
        " last. Off until it is switched on."
    ),
)
def publish_sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """A new copy after each sync."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)


PUBLISH_SENSOR: Final = publish_sensor
