"""A lane: everything that belongs to one chat in Dagster, and its names.

Every factory of assets, checks, jobs and schedules takes a lane. The only chat of a code location
has the lane without a name, and therefore plain names: `raw_messages`, `sync_job`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final, TypeAlias

import dagster as dg

from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource
from zipchat_dagster.settings import RELIST_DAYS, START_DATE, TIMEZONE
from zipchat_dagster.warehouse import Warehouse

HOURLY: Final = "5 * * * *"
AssetJob: TypeAlias = Any  # what define_asset_job returns has no public name


@dataclass(frozen=True)
class Lane:
    """One chat's own lane.

    Attributes:
        name: precedes the names of its jobs, schedules, steps and groups, and follows those of its
            pools and resources. Empty for the only chat.
        start_date: the first partition.
        timezone: the IANA name of the time zone whose days are the partitions.
        relist_days: how many past days the daily schedule lists again.
        prefix: of its assets' keys; by default its name.
        hourly: the cron schedule of the sync that keeps today fresh.
        chats: the names of all chats that share its database, by chat id, if they are known.
    """

    name: str = ""
    start_date: date = START_DATE
    timezone: str = TIMEZONE
    relist_days: int = RELIST_DAYS
    chats: Mapping[int, str] | None = None
    prefix: tuple[str, ...] | None = None
    hourly: str = HOURLY

    @cached_property
    def daily(self) -> dg.DailyPartitionsDefinition:
        """The days up to and including today, so that hourly runs keep today fresh."""
        return dg.DailyPartitionsDefinition(
            start_date=str(self.start_date), timezone=self.timezone, end_offset=1
        )

    def key(self, table: str) -> dg.AssetKey:
        """The key of an asset."""
        prefix = ((self.name,) if self.name else ()) if self.prefix is None else self.prefix
        return dg.AssetKey([*prefix, table])

    def step(self, name: str) -> str:
        """The name of an op, as Dagster derives it from an asset's key."""
        return "__".join(self.key(name).path)

    def named(self, name: str) -> str:
        """The name of a job, schedule or group, such as shop_de_sync_job."""
        return f"{self.name}_{name}" if self.name else name

    def own(self, name: str) -> str:
        """The name of a pool or resource, such as zipchat_api_shop_de."""
        return f"{name}_{self.name}" if self.name else name

    # A step requires these, by name, and gets them from its context.

    @property
    def zipchat_key(self) -> str:
        return self.own("zipchat")

    @property
    def metric_settings_key(self) -> str:
        return self.own("metric_settings")

    @property
    def warehouse_key(self) -> str:
        return self.own("warehouse")

    @property
    def resource_keys(self) -> set[str]:
        """All three."""
        return {self.zipchat_key, self.metric_settings_key, self.warehouse_key}

    def zipchat(self, context: Any) -> ZipchatResource:
        """The chat's API."""
        found: ZipchatResource = getattr(context.resources, self.zipchat_key)
        return found

    def metric_settings(self, context: Any) -> MetricSettings:
        """The chat's settings of the metrics."""
        found: MetricSettings = getattr(context.resources, self.metric_settings_key)
        return found

    def warehouse_resource(self, context: Any) -> WarehouseResource:
        """The resource with the tables."""
        found: WarehouseResource = getattr(context.resources, self.warehouse_key)
        return found

    def warehouse(self, context: Any) -> Warehouse:
        """The tables."""
        return self.warehouse_resource(context).warehouse
