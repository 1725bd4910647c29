"""`ZipchatComponent`: one chat in another Dagster project, from a few lines of YAML."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import ConfigDict, Field

from zipchat_dagster.build import build_lane, lane_of, metric_settings, warehouse, zipchat
from zipchat_dagster.chats import chat_of, check_name
from zipchat_dagster.client import SettingError
from zipchat_dagster.database_jobs import build_database_jobs
from zipchat_dagster.lanes import HOURLY
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.settings import DATABASES, Settings, like_setting
from zipchat_dagster.warehouse.engine import is_shared

_VARIABLE = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}")


def _variable(context: dg.ResolutionContext, text: str) -> str:
    """The variable's name. Its value would show in the UI, like every resource's config."""
    found = _VARIABLE.fullmatch(text.strip())
    if found is None:
        raise ValueError('name the environment variable that has the key: "{{ env.ZIPCHAT_KEY }}"')
    return found[1]


def _field(description: str, default: Any = None) -> Any:
    return Field(default=default, description=description)


def _setting(name: str) -> Any:
    """A field that is a setting, with the setting's default."""
    setting = Settings.model_fields[name]
    default = "" if setting.default in (None, "") else f" Default: {setting.default}."
    return _field(f"{setting.description}{default}")


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

    chat_id: int = like_setting("chat_id", default=...)
    api_key: Annotated[
        str, dg.Resolver(_variable, model_field_type=str, inject_before_resolve=False)
    ] = Field(
        description='The key of the Backend API, as "{{ env.NAME }}". It is read by each run.'
    )
    name: str | None = _field(
        "Part of the names of jobs and schedules: lower-case letters, digits, underscores. Default:"
        " the component's folder."
    )
    asset_key_prefix: list[str] | None = _field("Prefix of the asset keys. Default: the name.")
    group: str | None = _field("Group of all assets. Default: two groups, with the name in theirs.")
    tags: dict[str, str] = _field("Tags of all assets.", {})
    owners: list[str] | None = _field("Owners of all assets: e-mail addresses or team:name.")
    automation_condition: Annotated[
        dg.AutomationCondition[Any] | None, dg.Resolver.default(model_field_type=str | None)
    ] = _field('For all assets, such as "{{ dg.AutomationCondition.eager() }}".')
    schedule: str = _field("Cron schedule of the sync that keeps today fresh.", HOURLY)
    database_jobs: bool = _field(
        "Whether to add the jobs about the database as a whole: publish, export, maintain and"
        " retention. Of several components that share a database, one is enough.",
        True,
    )
    database: str = _field(
        "The DuckDB file, relative to the project's folder, or a lake. Several chats may share it.",
        DATABASES["real"],
    )
    database_resource: str | None = _field(
        "The key of a DuckDBResource of the project to use in place of `database`."
    )
    pii_key: Annotated[
        str | None, dg.Resolver(_variable, model_field_type=str | None, inject_before_resolve=False)
    ] = _field('The key of the hashes, as "{{ env.NAME }}". It is read by each run.')

    start_date: str | None = _setting("start_date")
    timezone: str | None = _setting("timezone")
    data_path: str | None = _setting("data_path")
    budget_database: str | None = _setting("budget_database")
    base_url: str | None = _setting("base_url")
    concurrency: int | None = _setting("concurrency")
    reserve: float | None = _setting("reserve")
    relist_days: int | None = _setting("relist_days")
    business_hours: str | None = _setting("business_hours")
    response_target_seconds: float | None = _setting("response_target_seconds")
    next_response_target_seconds: float | None = _setting("next_response_target_seconds")
    resolution_target_seconds: float | None = _setting("resolution_target_seconds")
    quiet_hours: int | None = _setting("quiet_hours")
    pii: str | None = _setting("pii")
    pii_identity: str | None = _setting("pii_identity")
    pii_content: str | None = _setting("pii_content")
    pii_attributes: str | None = _setting("pii_attributes")
    retention_days: int | None = _setting("retention_days")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """All assets, checks, jobs and schedules of the chat, and their resources."""
        settings = self._settings(context.project_root)
        name = check_name(self.name or context.path.name)
        chat = chat_of(settings, name=name, api_key_env=self.api_key)
        lane = replace(
            lane_of(settings, chat),
            prefix=tuple(self.asset_key_prefix) if self.asset_key_prefix else None,
            hourly=self.schedule,
        )
        resources = {
            lane.zipchat_key: zipchat(settings, chat),
            lane.metric_settings_key: metric_settings(chat),
            lane.warehouse_key: self._warehouse(settings),
        }
        built = [build_lane(lane, describe=self._described), dg.Definitions(resources=resources)]
        if self.database_jobs:
            syncs, has_retention = [lane.named("sync_job")], settings.retention_days is not None
            built.append(build_database_jobs(lane, syncs, has_retention=has_retention))
        return dg.Definitions.merge(*built)

    def _settings(self, folder: Path) -> Settings:
        """The fields as settings, checked."""
        names = set(type(self).model_fields) & set(Settings.model_fields)
        values = {name: getattr(self, name) for name in names}
        for name in ("database", "data_path", "budget_database"):
            place = values[name]
            if place and not (is_shared(place) or "://" in place or place.startswith("~")):
                values[name] = folder / place
        texts = {f"ZIPCHAT_{n.upper()}": str(v) for n, v in values.items() if v is not None}
        keys = {
            "ZIPCHAT_API_KEY": os.environ.get(self.api_key, ""),
            "ZIPCHAT_PII_KEY": os.environ.get(self.pii_key or "", ""),
        }
        try:
            return Settings.from_environment({**texts, **keys})
        except SettingError as error:
            # Here, settings have the names of the fields.
            text = re.sub(r"ZIPCHAT_([A-Z_]+)", lambda m: m[1].lower(), str(error))
            raise SettingError(text) from None

    def _warehouse(self, settings: Settings) -> WarehouseResource | dg.ResourceDefinition:
        """The resource with the tables, in the project's own database if that is set."""
        pii_key_env, theirs = self.pii_key or "", self.database_resource
        if theirs is None:
            return warehouse(settings, pii_key_env=pii_key_env)

        @dg.resource(required_resource_keys={theirs})
        def tables(context: dg.InitResourceContext) -> Any:
            place = {"database": getattr(context.resources, theirs).database}
            ours = warehouse(settings.model_copy(update=place), pii_key_env=pii_key_env)
            return ours.process_config_and_initialize()

        return tables

    def _described(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        given = {
            "group_name": self.group,
            "owners": self.owners,
            "automation_condition": self.automation_condition,
        }
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return spec.replace_attributes(tags={**spec.tags, **self.tags}, **changes)
