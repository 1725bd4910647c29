"""The jobs for a database as a whole, and the sensors and schedules that start them.

The lane has their names, the time zone of the nightly ones, and the resource with the tables.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from zipchat_dagster.copies import replace_copies
from zipchat_dagster.jobs import after_syncs, op_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.run_storage import delete_runs, is_of, location_of, runs_of
from zipchat_dagster.warehouse.export import default_folder, export_tables
from zipchat_dagster.warehouse.retention import redact_old_texts
from zipchat_dagster.write_back_jobs import HOLDS_TEXT


def build_database_jobs(
    lane: Lane, sync_jobs: Sequence[str], *, has_retention: bool
) -> dg.Definitions:
    """All of these jobs, sensors and schedules.

    Args:
        sync_jobs: the names of the jobs after which the copies are written.
        has_retention: whether old texts are removed.
    """
    publish, export = publish_job(lane), export_job(lane)
    maintain, retention = maintain_job(lane), retention_job(lane)
    status = dg.DefaultScheduleStatus
    return dg.Definitions(
        jobs=[publish, export, maintain, retention],
        sensors=[
            after_syncs(publish, sync_jobs, name=lane.named("publish_sensor")),
            after_syncs(export, sync_jobs, name=lane.named("export_sensor")),
        ],
        schedules=[
            dg.ScheduleDefinition(
                name=lane.named("maintain_schedule"),
                job=maintain,
                cron_schedule="40 3 * * *",
                execution_timezone=lane.timezone,
                description=f"Runs {maintain.name} every night.",
            ),
            dg.ScheduleDefinition(
                name=lane.named("retention_schedule"),
                job=retention,
                cron_schedule="10 3 * * *",
                execution_timezone=lane.timezone,
                default_status=status.RUNNING if has_retention else status.STOPPED,
                description=(
                    f"Runs {retention.name} every night. It is on by default if"
                    " ZIPCHAT_RETENTION_DAYS is set."
                ),
            ),
        ],
    )


def publish_job(lane: Lane) -> dg.JobDefinition:
    """The job that copies the database for readers."""

    @_op(lane, "publish")
    def publish(context: dg.OpExecutionContext) -> None:
        """Replace the published copy with one of the current database.

        Syncs wait while the file is copied, about a second per gigabyte on a local disk. Programs
        that have the previous copy open keep it.
        """
        resource = lane.warehouse_resource(context)
        size = resource.warehouse.publish(resource.published)
        if size is None:
            context.log.info(
                "Nothing to publish: dashboards can read this database itself at any time."
            )
            return
        context.add_output_metadata(_written(resource.published, size))

    return op_job(
        publish,
        name=lane.named("publish_job"),
        description=(
            "Puts a read-only copy of the database at ZIPCHAT_PUBLISHED_DATABASE, for dashboards"
            " and notebooks. Reading the copy never blocks a sync."
        ),
    )


class ExportConfig(dg.Config):
    """Where to write the files."""

    folder: str | None = Field(
        default=None,
        description=(
            "Default: next to the database, for example data/warehouse_export for"
            " data/warehouse.duckdb."
        ),
    )


def export_job(lane: Lane) -> dg.JobDefinition:
    """The job that writes the tables as Parquet files."""

    @_op(lane, "export")
    def export(context: dg.OpExecutionContext, config: ExportConfig) -> None:
        """Replace the exported files with those of the current database."""
        tables = lane.warehouse(context)
        folder = Path(config.folder or default_folder(tables)).absolute()
        rows = export_tables(tables, folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        counts = {f"rows of {table}": count for table, count in rows.items()}
        context.add_output_metadata({**_written(folder, size), **counts})

    return op_job(
        export,
        name=lane.named("export_job"),
        description=(
            "Exports every table to a Parquet file, for programs that do not read DuckDB. All files"
            " show the same state and are replaced together. They contain personal data."
        ),
    )


class MaintainConfig(dg.Config):
    """Whether to change anything."""

    dry_run: bool = Field(default=False, description="Only count what would be done.")


def maintain_job(lane: Lane) -> dg.JobDefinition:
    """The job that frees unused space."""

    @_op(lane, "maintain")
    def maintain(context: dg.OpExecutionContext, config: MaintainConfig) -> None:
        """Compact the file, or maintain the lake. The counts are in the metadata.

        If the sync has deleted data of an erased person, remove it from the disk too.
        """
        tables, resource = lane.warehouse(context), lane.warehouse_resource(context)
        if not config.dry_run and tables.scrub(lambda: replace_copies(resource)):
            context.log.info("Removed deleted data of erased people from the disk.")
        counts = tables.maintain(dry_run=config.dry_run)
        context.log.info(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
        context.add_output_metadata(counts)

    return op_job(
        maintain,
        name=lane.named("maintain_job"),
        description=(
            "Frees unused space: compacts a file if a fifth of it is unused; in a lake, merges"
            " small files and deletes those that only expired snapshots needed. To only count,"
            " set dry_run in the Launchpad."
        ),
    )


def retention_job(lane: Lane) -> dg.JobDefinition:
    """The job that removes old texts."""

    @_op(lane, "remove_old_texts")
    def remove_old_texts(context: dg.OpExecutionContext) -> None:
        """Remove the texts of messages older than ZIPCHAT_RETENTION_DAYS, also from the disk, and
        the runs of that age that sent a text, since Dagster keeps their config."""
        tables, resource = lane.warehouse(context), lane.warehouse_resource(context)
        days = tables.privacy.retention_days
        if days is None:
            context.log.info("Texts are kept forever: ZIPCHAT_RETENTION_DAYS is not set.")
            return
        now = datetime.now(UTC)
        count = redact_old_texts(tables, now=now)
        tables.scrub(lambda: replace_copies(resource))
        own = location_of(context.run)
        wanted = dg.RunsFilter(tags=HOLDS_TEXT, created_before=now - timedelta(days=days))
        runs = [run for run in runs_of(context, wanted) if run.is_finished and is_of(run, own)]
        left = delete_runs(context.instance, runs)
        if left:
            context.log.warning(f"Texts remain in: {'; '.join(left)}.")
        deleted = len(runs) - len(left)
        context.log.info(f"Removed the texts of {count:,} messages, and deleted {deleted:,} runs.")
        context.add_output_metadata({"messages": count, "runs_deleted": deleted})

    return op_job(
        remove_old_texts,
        name=lane.named("retention_job"),
        description=(
            "Removes the texts of messages older than ZIPCHAT_RETENTION_DAYS from the tables, the"
            " disk, the published copy and the export, and deletes the runs of that age that sent a"
            " message, whose config holds its text. Facts and metrics stay as they are. Without the"
            " setting, it does nothing."
        ),
    )


def _op(lane: Lane, name: str) -> Callable[[Callable[..., None]], dg.OpDefinition]:
    """Decorates what a job does. It gets the tables from its context."""
    return dg.op(
        name=lane.step(name),
        out=dg.Out(dg.Nothing),
        required_resource_keys={lane.warehouse_key},
    )


def _written(path: Path, size: int) -> dict[str, Any]:
    return {"path": dg.MetadataValue.path(str(path)), "megabytes": round(size / 1e6, 1)}
