"""Whether a run is for the newest days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg


def is_live(context: dg.AssetExecutionContext) -> bool:
    """Whether a run is for today, or completes yesterday. Such runs may use what ZIPCHAT_RESERVE
    holds back. All others are backfills."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return True
    window = context.partition_time_window
    return is_live_window(window.start, window.end)


def is_live_window(since: datetime, until: datetime) -> bool:
    """The same for the days of [since, until)."""
    is_recent = until > datetime.now(UTC) - timedelta(days=1)
    return is_recent and until - since <= timedelta(days=2, hours=1)
