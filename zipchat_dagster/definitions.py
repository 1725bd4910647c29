"""Everything wired together: the code location that Dagster loads."""

import os

import dagster as dg

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.checks import CHECKS
from zipchat_dagster.jobs import checks_job, estimate_job, sync_job
from zipchat_dagster.notify import Notifier
from zipchat_dagster.publish import publish_job, publish_sensor
from zipchat_dagster.resources import (
    MetricSettings,
    ReplayResource,
    SandboxResource,
    WarehouseResource,
    ZipchatResource,
)
from zipchat_dagster.schedules import SCHEDULES
from zipchat_dagster.sensors import SENSORS
from zipchat_dagster.settings import Settings
from zipchat_dagster.write_back import WRITE_BACK_JOBS


def zipchat(settings: Settings) -> ZipchatResource:
    """What the setting ZIPCHAT_API names: the real API, the sandbox, or a replay."""
    if settings.api == "sandbox":
        return SandboxResource(chat_id=settings.chat_id, start_date=settings.start_date)
    if settings.api == "replay":
        return ReplayResource(
            chat_id=settings.chat_id, replay_database=str(settings.replay_database)
        )
    return ZipchatResource(
        # Without a key the project can be looked at; the first run asks for it by name.
        api_key=dg.EnvVar("ZIPCHAT_API_KEY") if "ZIPCHAT_API_KEY" in os.environ else "",
        chat_id=settings.chat_id,
        base_url=settings.base_url,
        budget_database=str(settings.budget_database),
        concurrency=settings.concurrency,
        reserve=settings.reserve,
    )


settings = Settings.from_environment()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[sync_job, checks_job, estimate_job, *WRITE_BACK_JOBS, publish_job],
    schedules=SCHEDULES,
    sensors=[*SENSORS, publish_sensor],
    resources={
        "zipchat": zipchat(settings),
        "warehouse": WarehouseResource(
            database=str(settings.database),
            timezone=settings.timezone,
            published_database=str(settings.published_database or ""),
        ),
        # The address may hold a secret, as the key does.
        "notifier": Notifier(
            webhook_url=dg.EnvVar("ZIPCHAT_WEBHOOK_URL")
            if "ZIPCHAT_WEBHOOK_URL" in os.environ
            else ""
        ),
        "metric_settings": MetricSettings(
            business_hours=settings.business_hours,
            response_target_seconds=settings.response_target_seconds,
        ),
    },
    # A process per step costs seconds on a small machine, and the steps follow one another anyway.
    executor=dg.in_process_executor,
)
