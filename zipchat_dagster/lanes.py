"""A lane: what one chat has of its own in Dagster, and how it is called.

Every factory of assets, checks, jobs and schedules takes a lane. The only chat of a code location
has the lane without a name, and with it the plain names: `raw_messages`, `sync_job`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final, TypeAlias

import dagster as dg
from dagster_duckdb import DuckDBResource

from zipchat_dagster.resources import (
    MetricSettings,
    WarehouseResource,
    ZipchatResource,
    privacy,
)
from zipchat_dagster.settings import RELIST_DAYS, START_DATE, TIMEZONE
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.privacy import Mode

HOURLY: Final = "5 * * * *"
PII_KEY: Final = "ZIPCHAT_PII_KEY"
AssetJob: TypeAlias = Any  # what define_asset_job returns has no public name


@dataclass(frozen=True)
class Lane:
    """One chat's own lane.

    Attributes:
        name: precedes the names of its jobs, schedules, steps and groups, and follows those of its
            pools and resources. Empty for the only chat.
        start_date: the first partition.
        timezone: the IANA name of the zone whose days are the partitions.
        relist_days: how many past days the daily schedule lists again.
        prefix: of its assets' keys; by default its name.
        hourly: the cron schedule of the sync that keeps today fresh.
        database_resource: the name of the resource with the tables: a WarehouseResource, or another
            DuckDBResource of its file.
        pii_modes, pii_key_env: what that other resource may store of people, by class, and the
            environment variable that holds the key of the hashes.
        retention_days: after which the text of a message is removed, for that other resource.
        chats: the names of all chats that share its database, if they are known, by chat id.
    """

    name: str = ""
    start_date: date = START_DATE
    timezone: str = TIMEZONE
    relist_days: int = RELIST_DAYS
    chats: Mapping[int, str] | None = None
    prefix: tuple[str, ...] | None = None
    hourly: str = HOURLY
    database_resource: str = "warehouse"
    pii_modes: Mapping[str, Mode] = field(default_factory=dict)
    pii_key_env: str = PII_KEY
    retention_days: int | None = None

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
        return self.database_resource

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

    def warehouse_resource(self, context: Any) -> DuckDBResource:
        """The resource with the tables."""
        found: DuckDBResource = getattr(context.resources, self.warehouse_key)
        return found

    def warehouse(self, context: Any) -> Warehouse:
        """The tables."""
        found = self.warehouse_resource(context)
        if isinstance(found, WarehouseResource):
            return found.warehouse
        key = os.environ.get(self.pii_key_env, "")
        allowed = privacy(self.pii_modes, key, self.retention_days)
        return Warehouse(found.database, timezone=self.timezone, privacy=allowed)
