"""`ZipchatComponent`: one chat in somebody else's Dagster project, from a few lines of YAML."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

import dagster as dg
from pydantic import ConfigDict, Field

from zipchat_dagster.build import build_lane, metric_settings, warehouse, zipchat
from zipchat_dagster.chats import Chat, check_name
from zipchat_dagster.client import SettingError
from zipchat_dagster.lanes import HOURLY, PII_KEY, Lane
from zipchat_dagster.settings import ChatSettings, Settings
from zipchat_dagster.warehouse.engine import is_shared

_VARIABLE = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}")
# The fields that are settings too, and are checked as those are.
SETTINGS: Final = (
    "chat_id",
    "base_url",
    "start_date",
    "timezone",
    "database",
    "data_path",
    "pii",
    "pii_identity",
    "pii_content",
    "pii_attributes",
    "retention_days",
    "budget_database",
    "concurrency",
    "reserve",
    "relist_days",
    "business_hours",
    "response_target_seconds",
    "next_response_target_seconds",
    "resolution_target_seconds",
    "quiet_hours",
)


def _variable(context: dg.ResolutionContext, text: str) -> str:
    """The variable's name. Its value would be shown in the UI, as every resource's config is."""
    found = _VARIABLE.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            'write the environment variable that holds the key: "{{ env.ZIPCHAT_KEY }}"'
        )
    return found[1]


def _setting(description: str, default: Any = None) -> Any:
    return Field(default=default, description=description)


class _Scaffolder(dg.Scaffolder):
    """Writes a defs.yaml to fill in."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        name = re.sub(r"\W+", "_", request.target_path.name).lower()
        variable = f"{name.upper()}_ZIPCHAT_KEY"
        attributes = {
            "chat_id": 1234,
            "api_key": f"{{{{ env.{variable} }}}}",
            "start_date": "2026-01-01",
            "database": "data/warehouse.duckdb",
        }
        dg.scaffold_component(request, attributes)
        file = request.target_path / "defs.yaml"
        if file.exists():
            requirements = f"\nrequirements:\n  env:\n    - {variable}\n"
            file.write_text(file.read_text("utf-8").rstrip() + "\n" + requirements, "utf-8")


@dg.scaffold_with(_Scaffolder)
class ZipchatComponent(dg.Component, dg.Model, dg.Resolvable):
    """One Zipchat chat: conversations, messages and metrics in DuckDB, checks, jobs, schedules."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # the automation condition

    chat_id: int = Field(description="The chat's number, as in its address in Zipchat.")
    api_key: Annotated[
        str, dg.Resolver(_variable, model_field_type=str, inject_before_resolve=False)
    ] = Field(
        description='The key of the Backend API, as "{{ env.NAME }}". It is read by each run.'
    )
    start_date: str = _setting("First partition, YYYY-MM-DD.", "2024-01-01")
    name: str | None = _setting(
        "What jobs and schedules are called after: small letters, digits, underscores. Default: the"
        " component's folder."
    )
    asset_key_prefix: list[str] | None = _setting("Prefix of the asset keys. Default: the name.")
    group: str | None = _setting("Asset group of all assets. Default: two, called after the name.")
    tags: dict[str, str] = _setting("Tags of all assets.", {})
    owners: list[str] | None = _setting("Owners of all assets: e-mail addresses or team:name.")
    automation_condition: Annotated[
        dg.AutomationCondition[Any] | None, dg.Resolver.default(model_field_type=str | None)
    ] = _setting('Of all assets, such as "{{ dg.AutomationCondition.eager() }}".')
    schedule: str = _setting("Cron schedule of the sync that keeps today fresh.", HOURLY)
    database: str = _setting(
        "The DuckDB file, from the project's folder, or a lake. Several chats may share one.",
        "data/warehouse.duckdb",
    )
    database_resource: str | None = _setting(
        "The key of a DuckDBResource of the project to use in place of `database`."
    )
    data_path: str | None = _setting("Where a lake keeps its data: a folder or s3://bucket/prefix.")
    budget_database: str | None = _setting(
        "Through what programs share the rate limit: a SQLite file or postgresql://user@host/db."
        " Default: budget.sqlite beside the database."
    )
    timezone: str | None = _setting(
        "IANA name of the zone whose days are the partitions. The same for all of a database."
    )
    pii: str | None = _setting(
        "What is stored of people: keep (default), hash or drop. The same for all of a database."
    )
    pii_identity: str | None = _setting("The same for names, addresses and links to people only.")
    pii_content: str | None = _setting("The same for the texts of messages only.")
    pii_attributes: str | None = _setting("The same for the shop's attributes of leads only.")
    retention_days: int | None = _setting(
        "Days after which the text of a message is removed. Default: never."
    )
    pii_key: Annotated[
        str | None, dg.Resolver(_variable, model_field_type=str | None, inject_before_resolve=False)
    ] = _setting('The key of the hashes, as "{{ env.NAME }}". It is read by each run.')
    base_url: str | None = _setting("Where the API is, for a sandbox.")
    concurrency: int | None = _setting("Reads in flight, 1 to 128. Default: 8.")
    reserve: float | None = _setting(
        "Fraction of each rate-limit window that backfills leave to today's runs. Default: 0.25."
    )
    relist_days: int | None = _setting("Past days that the daily schedule lists again. Default: 7.")
    business_hours: str | None = _setting("When agents are available: mon-fri 09:00-17:00.")
    response_target_seconds: float | None = _setting("Within which a first response is on time.")
    next_response_target_seconds: float | None = _setting("The same for each later response.")
    resolution_target_seconds: float | None = _setting("The same for a resolution.")
    quiet_hours: int | None = _setting(
        "Hours without a message after which a conversation counts as automated. Default: 72."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """All assets, checks, jobs and schedules of the chat, and their resources."""
        settings = self._settings(context.project_root)
        chat = Chat.model_construct(
            **{name: getattr(settings, name) for name in ChatSettings.model_fields},
            name=check_name(self.name or context.path.name),
            api_key_env=self.api_key,
        )
        lane = Lane(
            name=chat.name,
            prefix=tuple(self.asset_key_prefix) if self.asset_key_prefix else None,
            start_date=chat.start_date,
            timezone=settings.timezone,
            relist_days=chat.relist_days,
            hourly=self.schedule,
            database_resource=self.database_resource or f"warehouse_{chat.name}",
            pii_modes=settings.pii_modes,
            retention_days=settings.retention_days,
            pii_key_env=self.pii_key or PII_KEY,
        )
        resources: dict[str, Any] = {
            lane.zipchat_key: zipchat(settings, chat),
            lane.metric_settings_key: metric_settings(chat),
        }
        if self.database_resource is None:
            resources[lane.warehouse_key] = warehouse(settings, pii_key_env=lane.pii_key_env)
        own = build_lane(lane, describe=self._described)
        return dg.Definitions.merge(own, dg.Definitions(resources=resources))

    def _settings(self, folder: Path) -> Settings:
        """The fields as settings, checked."""
        values = {name: getattr(self, name) for name in SETTINGS}
        if not is_shared(self.database):
            values["database"] = folder / self.database
        texts = {f"ZIPCHAT_{n.upper()}": str(v) for n, v in values.items() if v is not None}
        keys = {
            "ZIPCHAT_API_KEY": os.environ.get(self.api_key, ""),
            PII_KEY: os.environ.get(self.pii_key or "", ""),
        }
        try:
            return Settings.from_environment({**texts, **keys})
        except SettingError as error:
            # Here they have the names of the fields.
            text = re.sub(r"ZIPCHAT_([A-Z_]+)", lambda m: m[1].lower(), str(error))
            raise SettingError(text) from None

    def _described(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        changes: dict[str, Any] = {"tags": {**spec.tags, **self.tags}}
        if self.group is not None:
            changes["group_name"] = self.group
        if self.owners is not None:
            changes["owners"] = self.owners
        if self.automation_condition is not None:
            changes["automation_condition"] = self.automation_condition
        return spec.replace_attributes(**changes)
