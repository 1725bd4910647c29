"""Rewrites the copies of the tables after data was removed from these."""

from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse.export import default_folder, export_tables


def replace_copies(resource: WarehouseResource) -> None:
    """Rewrite the published copy and the export, if they exist. The previous export, which is
    otherwise kept for its readers, is deleted. Exports to other folders are not known here."""
    tables = resource.warehouse
    if resource.published.exists():
        tables.publish(resource.published)
    if (folder := default_folder(tables).absolute()).exists():
        export_tables(tables, folder, keep_former=False)
