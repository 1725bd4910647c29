"""Days: what a partition is, and which of them a run is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from zipchat_dagster.settings import Settings


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Days in ZIPCHAT_TIMEZONE from ZIPCHAT_START_DATE on, today included, so that hourly runs
    keep today fresh."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date, timezone=settings.timezone, end_offset=1
    )


daily = daily_partitions(Settings.from_environment())


def is_live(context: dg.AssetExecutionContext) -> bool:
    """Whether a run keeps the newest data fresh (today, or yesterday's close): such runs may
    spend what ZIPCHAT_RESERVE holds back. Everything else is a backfill."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return True
    window = context.partition_time_window
    return is_live_window(window.start, window.end)


def is_live_window(since: datetime, until: datetime) -> bool:
    """The same for the days of [since, until)."""
    is_recent = until > datetime.now(UTC) - timedelta(days=1)
    return is_recent and until - since <= timedelta(days=2, hours=1)
