"""The copies of the tables, written again after something was removed from them."""

from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse.export import default_folder, export_tables


def replace_copies(resource: WarehouseResource) -> None:
    """Write the published copy and the export again, where they exist. The former export, which is
    otherwise kept for its readers, is deleted. An export to another folder is not known here."""
    tables = resource.warehouse
    if resource.published.exists():
        tables.publish(resource.published)
    if (folder := default_folder(tables).absolute()).exists():
        export_tables(tables, folder, keep_former=False)
