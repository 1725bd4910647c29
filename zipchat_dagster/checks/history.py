"""Which days of a daily asset Dagster has materialized, and when last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from zipchat_dagster.settings import TIMEZONE


def current_time() -> datetime:
    """This machine's time; a function of its own so that tests can set the clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class History:
    """The materializations of one asset's days; empty for an asset without partitions.

    Attributes:
        at: when this was read.
        days: every day that was ever materialized.
        newest: when today and yesterday were last materialized, if they were.
        timezone: the zone of the days.
    """

    at: datetime
    days: frozenset[date] = frozenset()
    newest: Mapping[date, datetime] = field(default_factory=dict)
    timezone: str = TIMEZONE

    @property
    def local(self) -> datetime:
        """`at` in the zone of the partitions."""
        return self.at.astimezone(ZoneInfo(self.timezone))

    @property
    def today(self) -> date:
        return self.local.date()

    def midnight(self, day: date) -> datetime:
        """The moment at which a partition begins."""
        return datetime.combine(day, time(), ZoneInfo(self.timezone))


def history_of(instance: dg.DagsterInstance, asset: dg.AssetKey, timezone: str) -> History:
    """The history of an asset, read from the instance."""
    at = current_time()
    keys = instance.get_materialized_partitions(asset)
    history = History(at, frozenset(map(date.fromisoformat, keys)), timezone=timezone)
    newest = {}
    for day in {history.today, history.today - timedelta(days=1)} & history.days:
        # For this very day: the newest materialization of any day may belong to a backfill.
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset, asset_partitions=[day.isoformat()]), limit=1
        ).records
        for record in records:
            newest[day] = datetime.fromtimestamp(record.timestamp, UTC)
    return replace(history, newest=newest)
