"""Reading the database while syncs run.

While a process writes to a DuckDB file, no other can open it, and while one reads it, none can
write. Dashboards should therefore read the copy that `publish_job` puts beside the database. It
can stay open for as long as you like; reconnect to see a newer copy:

    duckdb.connect("data/warehouse_published.duckdb", read_only=True)

A notebook that needs the newest rows can open the live file for a moment. Every sync waits
until it is closed:

    with open_read_only("data/warehouse.duckdb") as connection:
        backlog = connection.execute("from zipchat.escalations where is_open").df()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError


@contextmanager
def open_read_only(path: str | Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the live database. Times are in UTC.

    No sync can write until the block ends: fetch what you need and leave it. If another process
    has the database open, this waits, and the log says which process it is.

    Raises:
        WarehouseError: the file does not exist, or stays in use for too long.
    """
    database = Path(path).expanduser()
    if not database.exists():
        raise WarehouseError(f"{database} does not exist. Has anything been synced into it yet?")
    reader = Warehouse(database)
    with reader.connection(read_only=True, purpose="open_read_only") as connection:
        yield connection
