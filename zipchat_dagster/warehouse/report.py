"""What is in the tables, for metadata, previews and printed tables; never customers' data."""

from __future__ import annotations

from collections.abc import Sequence

from zipchat_dagster.warehouse.warehouse import Warehouse


def partition_counts(
    warehouse: Warehouse, table: str, days: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Rows per day of a partitioned table: ISO date → {"dagster/partition_row_count": rows}."""
    counts = dict.fromkeys(days, 0)
    with warehouse.transaction() as transaction:
        found = transaction.execute(
            "partition_counts", table=f"zipchat.{table}", first=days[0], last=days[-1]
        )
    counts |= dict(found)
    return {day: {"dagster/partition_row_count": counts[day]} for day in days}
