"""Brings the tables of an older version of this package to those of `schema.sql`.

`sql/migrations/` has a file per version of the schema, numbered from 1, which turns the tables of
the version before into its own. Version 0 is what was written before there were versions.

`schema.sql` and `views.sql` run after them and create what is missing, so a new table or view needs
no statement in a migration. A view that changes must be dropped in one. The order of a table's
columns may differ from that in a new database, so all statements name them.
"""

from __future__ import annotations

from typing import Final

import duckdb

from zipchat_dagster.warehouse.engine import LastingError
from zipchat_dagster.warehouse.tables import SQL, sql

MIGRATIONS: Final = tuple(sorted(f"migrations/{p.stem}" for p in SQL.glob("migrations/*.sql")))
VERSION: Final = len(MIGRATIONS)  # of the schema in schema.sql
SETTING: Final = "schema_version"


def prepare_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, or migrate those of an older version, in the open transaction.

    Raises:
        LastingError: a newer version of this package wrote the database. Nothing was changed.
    """
    found = stored_version(connection)
    if found is not None and found > VERSION:
        raise LastingError(
            f"The database was written by a newer version of zipchat_dagster (its schema is number"
            f" {found}, and this one knows up to {VERSION}): update the package on this machine."
        )
    for migration in MIGRATIONS[VERSION if found is None else found :]:
        connection.execute(sql(migration))
    connection.execute(sql("schema"))
    connection.execute(sql("views"))
    if found != VERSION:
        connection.execute(sql("store_setting"), {"name": SETTING, "value": str(VERSION)})


def stored_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The version of the current database's schema. None if there are no tables yet."""
    tables = {name for (name,) in connection.execute(sql("table_names")).fetchall()}
    if "warehouse_settings" in tables:
        row = connection.execute(sql("stored_setting"), {"name": SETTING}).fetchone()
        if row is not None:
            return int(row[0])
    return 0 if tables else None
