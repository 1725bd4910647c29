"""The jobs about the database as a whole, and the sensors and schedules that start them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from zipchat_dagster.copies import replace_copies
from zipchat_dagster.jobs import after_syncs, op_job
from zipchat_dagster.lanes import AssetJob
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.run_storage import delete_runs, is_of, location_of, runs_of
from zipchat_dagster.warehouse.export import default_folder, export_tables
from zipchat_dagster.warehouse.retention import redact_old_texts


@dg.op(out=dg.Out(dg.Nothing))
def publish(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """Replace the published copy with one of the current database.

    Syncs wait while the file is copied, about a second per gigabyte on a local disk. Programs that
    have the previous copy open keep it.
    """
    size = warehouse.warehouse.publish(warehouse.published)
    if size is None:
        context.log.info("Nothing to publish: dashboards can read this database itself, any time.")
        return
    context.add_output_metadata(_written(warehouse.published, size))


publish_job = op_job(
    publish,
    name="publish_job",
    description=(
        "Puts a read-only copy of the database at ZIPCHAT_PUBLISHED_DATABASE, for dashboards and"
        " notebooks. Reading the copy never blocks a sync."
    ),
)


class ExportConfig(dg.Config):
    """Where the files go."""

    folder: str | None = Field(
        default=None,
        description=(
            "Default: beside the database, as data/warehouse_export beside data/warehouse.duckdb."
        ),
    )


@dg.op(out=dg.Out(dg.Nothing))
def export(
    context: dg.OpExecutionContext, config: ExportConfig, warehouse: WarehouseResource
) -> None:
    """Replace the exported files with those of the current database."""
    tables = warehouse.warehouse
    folder = Path(config.folder or default_folder(tables)).absolute()
    rows = export_tables(tables, folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    counts = {f"rows of {table}": count for table, count in rows.items()}
    context.add_output_metadata({**_written(folder, size), **counts})


export_job = op_job(
    export,
    name="export_job",
    description=(
        "Exports every table as a Parquet file, for programs that do not read DuckDB. All files"
        " show the same state and are swapped in as a whole. They contain personal data."
    ),
)


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
    tables = warehouse.warehouse
    if not config.dry_run and tables.scrub(lambda: replace_copies(warehouse)):
        context.log.info("Removed from the disk what was deleted of erased people.")
    counts = tables.maintain(dry_run=config.dry_run)
    context.log.info(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
    context.add_output_metadata(counts)


maintain_job = op_job(
    maintain,
    name="maintain_job",
    description=(
        "Frees what the database no longer uses: compacts a file of which a fifth is unused; in a"
        " lake, merges small files and deletes what expired snapshots needed. Set dry_run in the"
        " Launchpad to only count."
    ),
)


def retention_job(texts_of: Sequence[str]) -> dg.JobDefinition:
    """The job that removes old texts.

    Args:
        texts_of: the jobs whose runs have texts for customers in their config.
    """

    @dg.op(out=dg.Out(dg.Nothing))
    def remove_old_texts(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
        """Remove the texts of messages older than ZIPCHAT_RETENTION_DAYS, from the disk too, and
        the runs of that age that sent a text, since Dagster keeps their config."""
        tables = warehouse.warehouse
        days = tables.privacy.retention_days
        if days is None:
            context.log.info("Texts are kept for ever: ZIPCHAT_RETENTION_DAYS is not set.")
            return
        now = datetime.now(UTC)
        count = redact_old_texts(tables, now=now)
        tables.scrub(lambda: replace_copies(warehouse))
        own = location_of(context.run)
        found = runs_of(context, texts_of, before=now - timedelta(days=days))
        runs = [run for run in found if run.is_finished and is_of(run, own)]
        left = delete_runs(context.instance, runs)
        if left:
            context.log.warning(f"Texts are left in: {'; '.join(left)}.")
        deleted = len(runs) - len(left)
        context.log.info(f"Removed the texts of {count:,} messages, and {deleted:,} runs.")
        context.add_output_metadata({"messages": count, "runs_deleted": deleted})

    return op_job(
        remove_old_texts,
        name="retention_job",
        description=(
            "Removes the texts of messages older than ZIPCHAT_RETENTION_DAYS from the tables, the"
            " disk, the published copy and the export, and deletes the runs of that age that sent a"
            " message, whose config holds its text. Facts and metrics stay as they are. Without the"
            " setting, it does nothing."
        ),
    )


def _written(path: Path, size: int) -> dict[str, Any]:
    return {"path": dg.MetadataValue.path(str(path)), "megabytes": round(size / 1e6, 1)}


def database_sensors(sync_jobs: Sequence[AssetJob]) -> list[dg.SensorDefinition]:
    """The sensors that start a job after successful runs of these jobs."""
    return [
        after_syncs(publish_job, sync_jobs, name="publish_sensor"),
        after_syncs(export_job, sync_jobs, name="export_sensor"),
    ]


def database_schedules(
    timezone: str, retention: dg.JobDefinition, *, has_retention: bool
) -> list[dg.ScheduleDefinition]:
    """The schedules, at night in this zone."""
    status = dg.DefaultScheduleStatus
    return [
        dg.ScheduleDefinition(
            name="maintain_schedule",
            job=maintain_job,
            cron_schedule="40 3 * * *",
            execution_timezone=timezone,
            description="Runs maintain_job every night.",
        ),
        dg.ScheduleDefinition(
            name="retention_schedule",
            job=retention,
            cron_schedule="10 3 * * *",
            execution_timezone=timezone,
            default_status=status.RUNNING if has_retention else status.STOPPED,
            description=(
                "Runs retention_job every night. It is on from the start if ZIPCHAT_RETENTION_DAYS"
                " is set."
            ),
        ),
    ]
