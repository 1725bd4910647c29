"""What Dagster's instance knows of a daily asset: which days were materialized, and when last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from zipchat_dagster.partitions import daily


def current_time() -> datetime:
    """This machine's time; a function of its own so that tests can turn the clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class History:
    """The materializations of one asset's days; none for an asset without partitions.

    Attributes:
        at: when this was read.
        days: every day that was ever materialized.
        newest: of today and yesterday those that were materialized, and when they last were.
    """

    at: datetime
    days: frozenset[date] = frozenset()
    newest: Mapping[date, datetime] = field(default_factory=dict)

    @property
    def local(self) -> datetime:
        """`at` in the zone of the partitions."""
        return self.at.astimezone(ZoneInfo(daily.timezone))

    @property
    def today(self) -> date:
        return self.local.date()


def history_of(instance: dg.DagsterInstance, asset: dg.AssetKey) -> History:
    """Read it from the instance, for an asset with the partitions `daily`."""
    at = current_time()
    keys = instance.get_materialized_partitions(asset)
    history = History(at, frozenset(map(date.fromisoformat, keys)))
    newest = {}
    for day in {history.today, history.today - timedelta(days=1)} & history.days:
        # Of this very day: the newest materialization of all may be that of a backfill.
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset, asset_partitions=[day.isoformat()]), limit=1
        ).records
        for record in records:
            newest[day] = datetime.fromtimestamp(record.timestamp, UTC)
    return History(at, history.days, newest)


def midnight(day: date) -> datetime:
    """The moment at which a partition begins."""
    return datetime.combine(day, time(), ZoneInfo(daily.timezone))
