"""Reading the database while syncs run.

While a process writes to a DuckDB file, no other can open it, and while one reads it, none can
write. Dashboards should therefore read the copy that `publish_job` puts next to the database. It
can stay open for as long as you like. Reconnect to see a newer copy:

    duckdb.connect("data/warehouse_published.duckdb", read_only=True)

A notebook that needs the newest rows can open the live file for a moment. Every sync waits
until it is closed:

    with open_read_only("data/warehouse.duckdb") as connection:
        backlog = connection.execute("from zipchat.escalations where is_open").df()

In a lake, readers never wait, and nothing waits for them. The same function opens one, with the
value of ZIPCHAT_DATABASE.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import WarehouseError, is_shared


@contextmanager
def open_read_only(
    database: str | Path, *, data_path: str = ""
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the live database. Times are in UTC.

    With a file, no sync can write until the block ends, so fetch what you need and leave it. If
    another process has the file open, this waits, and the log names the process.

    Args:
        database: a file, or a lake as in ZIPCHAT_DATABASE.
        data_path: as in ZIPCHAT_DATA_PATH; needed if it is an object store's address.

    Raises:
        WarehouseError: the file does not exist, stays in use for too long, or the lake cannot be
            reached.
    """
    if not is_shared(str(database)):
        database = Path(database).expanduser()
        if not database.exists():
            raise WarehouseError(
                f"{database} does not exist. Has anything been synced into it yet?"
            )
    reader = Warehouse(database, data_path=data_path)
    with reader.connection(read_only=True, purpose="open_read_only") as connection:
        yield connection
