"""Builds the definitions of one chat, and those of a code location with several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from zipchat_dagster.assets import build_assets, chats_report
from zipchat_dagster.chats import Chat
from zipchat_dagster.checks import build_checks
from zipchat_dagster.database_jobs import build_database_jobs
from zipchat_dagster.erase_jobs import erase_lead_job, unsuppress_lead_job
from zipchat_dagster.jobs import after_syncs, checks_job, estimate_job, sync_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.notify import Notifier
from zipchat_dagster.resources import (
    MetricSettings,
    ReplayResource,
    SandboxResource,
    WarehouseResource,
    ZipchatResource,
)
from zipchat_dagster.schedules import build_schedules
from zipchat_dagster.sensors import SENSORS
from zipchat_dagster.settings import Settings
from zipchat_dagster.write_back_jobs import write_back_jobs


def zipchat(settings: Settings, chat: Chat) -> ZipchatResource:
    """The API that ZIPCHAT_API selects: the real one, the sandbox, or a replay."""
    chat_id = str(chat.chat_id or "")  # the first run reports a missing one
    if settings.api == "sandbox":
        # Any number will do: the chat is invented.
        return SandboxResource(chat_id=chat_id or "1", start_date=str(chat.start_date))
    if settings.api == "replay":
        return ReplayResource(chat_id=chat_id, replay_database=str(settings.replay_database))
    return ZipchatResource(
        api_key=dg.EnvVar(chat.api_key_env) if chat.has_api_key else "",
        chat_id=chat_id,
        base_url=chat.base_url,
        name=chat.name,
        api_key_env=chat.api_key_env,
        budget_database=str(settings.budget_database),
        concurrency=chat.concurrency,
        reserve=chat.reserve,
    )


def warehouse(settings: Settings, *, pii_key_env: str = "ZIPCHAT_PII_KEY") -> WarehouseResource:
    """The database.

    Args:
        pii_key_env: the environment variable that holds the key of the hashes.
    """
    modes = settings.pii_modes
    return WarehouseResource(
        database=str(settings.database),
        data_path=settings.data_path or "",
        timezone=settings.timezone,
        published_database=str(settings.published_database or ""),
        pii_identity=modes["identity"],
        pii_content=modes["content"],
        pii_attributes=modes["attributes"],
        retention_days=settings.retention_days,
        pii_key=dg.EnvVar(pii_key_env) if settings.has_pii_key else "",
    )


def metric_settings(chat: Chat) -> MetricSettings:
    """The settings of the chat's metrics."""
    return MetricSettings(**chat.model_dump(include=set(MetricSettings.model_fields)))


def lane_of(settings: Settings, chat: Chat) -> Lane:
    """The chat's lane, which may still get a prefix and a schedule of its own."""
    return Lane(
        name=chat.name,
        start_date=chat.start_date,
        timezone=settings.timezone,
        relist_days=chat.relist_days,
    )


def build_lane(
    lane: Lane,
    *,
    bound: Mapping[str, dg.ResourceDefinition] | None = None,
    describe: Callable[[dg.AssetSpec], dg.AssetSpec] = lambda spec: spec,
) -> dg.Definitions:
    """The assets, checks, jobs and schedules of one chat.

    Args:
        bound: all resources that they require, to bind to them. Without it, the definitions that
            these are merged into have the resources.
        describe: changes the assets' groups, tags and the like.
    """
    assets = [asset.map_asset_specs(describe) for asset in build_assets(lane)]
    checks = build_checks(lane)
    jobs = [
        estimate_job(lane),
        *write_back_jobs(lane),
        erase_lead_job(lane),
        unsuppress_lead_job(lane),
    ]
    if bound:
        assets = list(dg.with_resources(assets, bound))
        checks = list(dg.with_resources(checks, bound))
        jobs = [job.with_top_level_resources(bound) for job in jobs]
    sync, check = sync_job(lane, assets), checks_job(lane, checks)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[sync, check, *jobs],
        schedules=build_schedules(lane, sync, check),
    )


def build_chats_report(
    chats: Sequence[tuple[Lane, ZipchatResource, MetricSettings]], sync_jobs: Sequence[str]
) -> dg.Definitions:
    """The report of several chats, with the job and the sensor that keep it fresh."""
    report = chats_report(chats)
    job = dg.define_asset_job(
        "chats_report_job",
        selection=dg.AssetSelection.assets(report),
        executor_def=dg.in_process_executor,
        description="Writes the report of all chats from the tables.",
    )
    sensor = after_syncs(job, sync_jobs, name="chats_report_sensor")
    return dg.Definitions(assets=[report], jobs=[job], sensors=[sensor])


def build_definitions(settings: Settings, chats: Sequence[Chat]) -> dg.Definitions:
    """Everything about these chats, in one database."""
    built: list[dg.Definitions] = []
    syncs: list[str] = []
    tables = warehouse(settings)
    resources: dict[str, Any] = {"warehouse": tables}
    reported: list[tuple[Lane, ZipchatResource, MetricSettings]] = []
    names = {chat.chat_id: chat.name for chat in chats if chat.chat_id}
    for chat in chats:
        lane = replace(lane_of(settings, chat), chats=names if settings.chats else None)
        api, rules = zipchat(settings, chat), metric_settings(chat)
        own_resources = {
            lane.zipchat_key: api,
            lane.metric_settings_key: rules,
            lane.warehouse_key: tables,
        }
        reported.append((lane, api, rules))
        if settings.chats:
            # Bound, since every job carries the resources of its definitions: with a hundred chats,
            # those would be three hundred in each of nine hundred jobs.
            bound = {key: found.get_resource_definition() for key, found in own_resources.items()}
            own = build_lane(lane, bound=bound)
        else:
            resources |= own_resources
            own = build_lane(lane)
        built.append(own)
        syncs.append(lane.named("sync_job"))
    if len(chats) > 1:
        built.append(build_chats_report(reported, syncs))
    has_retention = settings.retention_days is not None
    built.append(
        build_database_jobs(Lane(timezone=settings.timezone), syncs, has_retention=has_retention)
    )
    shared = dg.Definitions(
        sensors=SENSORS,
        resources={
            "notifier": Notifier(
                webhook_url=dg.EnvVar("ZIPCHAT_WEBHOOK_URL") if settings.has_webhook_url else ""
            ),
            **resources,
        },
        # A process per step costs seconds on a small machine, and the steps run one by one anyway.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(*built, shared)
