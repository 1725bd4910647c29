"""The job that exports all tables as Parquet files, and the sensor that starts it."""

import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from zipchat_dagster.jobs import after_each_run
from zipchat_dagster.lanes import AssetJob
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse.export import default_folder, export_tables


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
    began_at = time.monotonic()
    tables = warehouse.warehouse
    folder = Path(config.folder or default_folder(tables)).absolute()
    rows = export_tables(tables, folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    context.add_output_metadata(
        {
            "path": dg.MetadataValue.path(str(folder)),
            "megabytes": round(size / 1e6, 1),
            "seconds": round(time.monotonic() - began_at, 2),
            **{f"rows of {table}": count for table, count in rows.items()},
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Exports every table as a Parquet file, for programs that do not read DuckDB. All files"
        " show the same state and are swapped in as a whole. They contain personal data."
    ),
)
def export_job() -> None:
    """The job's only op."""
    export()


def export_sensor(sync_jobs: Sequence[AssetJob]) -> dg.SensorDefinition:
    """The sensor that starts it after each successful run of these jobs."""
    return after_each_run(export_job, sync_jobs, name="export_sensor")
