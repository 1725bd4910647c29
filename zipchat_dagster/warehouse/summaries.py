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


def metrics_table(warehouse: Warehouse) -> str:
    """`escalation_metrics` of all conversations by day, as text for a terminal."""
    with warehouse.transaction() as transaction:
        frame = transaction.query("metrics_table")
    for column in ("escalation rate", "contained"):
        frame[column] = frame[column].map(lambda rate: f"{rate:.0%}", na_action="ignore")
    for column in ("first response", "resolution"):
        frame[column] = frame[column].map(_duration, na_action="ignore")
    return frame.astype(object).fillna("–").to_string(index=False, justify="right")


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
