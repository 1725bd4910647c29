"""Parquet files of all tables, swapped in as a whole."""

from __future__ import annotations

import glob
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from zipchat_dagster.warehouse.engine import WarehouseError, first_line, quoted
from zipchat_dagster.warehouse.file import ROW_GROUP_SIZE
from zipchat_dagster.warehouse.lock import InUseError, locked
from zipchat_dagster.warehouse.tables import schema_tables
from zipchat_dagster.warehouse.warehouse import Warehouse


def default_folder(warehouse: Warehouse) -> Path:
    """Where the files are unless another folder is given: beside the database."""
    return warehouse.path.with_name(f"{warehouse.path.stem}_export")


def export_tables(
    warehouse: Warehouse, folder: Path, *, keep_former: bool = True
) -> dict[str, int]:
    """Write every table to `<folder>/<table>.parquet`. Returns the number of rows by table.

    All files show the same state of the database. `folder` is a symbolic link, which is replaced
    once all are written. Syncs wait only while a file is copied, as in `Warehouse.publish`.

    Args:
        keep_former: keep the files that it showed before until the next time, for readers who have
            them open.

    Raises:
        WarehouseError: `folder` is something else, or cannot be written. The former files are
            unchanged.
    """
    if folder.exists() and not folder.is_symlink():
        raise WarehouseError(
            f"{folder} exists and was not written by this job. Move it away, or give another path."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder, "export_job"):
            return _replace(warehouse, folder, keep_former=keep_former)
    except (OSError, duckdb.IOException) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise WarehouseError(
            f"{folder} could not be written ({reason}). The previous files are unchanged."
        ) from None
    except InUseError as error:
        raise WarehouseError(str(error)) from None


def _replace(warehouse: Warehouse, folder: Path, *, keep_former: bool) -> dict[str, int]:
    former = {p for p in folder.parent.glob(f"{glob.escape(folder.name)}.*") if p.is_dir()}
    shown = {folder.parent / folder.readlink()} if folder.is_symlink() else set()
    fresh = folder.with_name(f"{folder.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    try:
        fresh.mkdir(mode=0o700)  # there are personal data in it
        rows = _write(warehouse, fresh)
        link = fresh / "link"
        link.symlink_to(fresh.name)
        link.replace(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for path in former - shown if keep_former else former:
        shutil.rmtree(path)
    return rows


def _write(warehouse: Warehouse, fresh: Path) -> dict[str, int]:
    copy = fresh / "copy.duckdb"
    is_copied = warehouse.publish(copy) is not None  # readers of a lake need none
    source = Warehouse(copy) if is_copied else warehouse
    rows = {}
    with source.connection(read_only=True, purpose="export_job") as connection:
        for table in schema_tables():
            file = quoted(str(fresh / f"{table}.parquet"))
            ((rows[table],),) = connection.execute(
                f"copy zipchat.{table} to {file}"
                f" (format parquet, compression zstd, row_group_size {ROW_GROUP_SIZE})"
            ).fetchall()
    for path in fresh.glob("copy.duckdb*"):
        path.unlink()
    return rows
