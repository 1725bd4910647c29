"""Everything wired together: the code location that Dagster loads."""

import dagster as dg

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.checks import CHECKS
from zipchat_dagster.jobs import checks_job, estimate_job, sync_job
from zipchat_dagster.maintain import maintain_job, maintain_schedule
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
from zipchat_dagster.settings import Settings, load_settings
from zipchat_dagster.write_back_jobs import WRITE_BACK_JOBS


def zipchat(settings: Settings) -> ZipchatResource:
    """What ZIPCHAT_API selects: the real API, the sandbox, or a replay."""
    chat_id = str(settings.chat_id or "")  # the first run reports a missing one
    if settings.api == "sandbox":
        # Any number will do: the chat is invented.
        return SandboxResource(chat_id=chat_id or "1", start_date=str(settings.start_date))
    if settings.api == "replay":
        return ReplayResource(chat_id=chat_id, replay_database=str(settings.replay_database))
    return ZipchatResource(
        api_key=dg.EnvVar("ZIPCHAT_API_KEY") if settings.has_api_key else "",
        chat_id=chat_id,
        base_url=settings.base_url,
        budget_database=str(settings.budget_database),
        concurrency=settings.concurrency,
        reserve=settings.reserve,
    )


settings = load_settings()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[sync_job, checks_job, estimate_job, *WRITE_BACK_JOBS, publish_job, maintain_job],
    schedules=[*SCHEDULES, maintain_schedule],
    sensors=[*SENSORS, publish_sensor],
    resources={
        "zipchat": zipchat(settings),
        "warehouse": WarehouseResource(
            database=str(settings.database),
            data_path=settings.data_path or "",
            timezone=settings.timezone,
            published_database=str(settings.published_database or ""),
        ),
        "notifier": Notifier(
            webhook_url=dg.EnvVar("ZIPCHAT_WEBHOOK_URL") if settings.has_webhook_url else ""
        ),
        "metric_settings": MetricSettings(
            business_hours=settings.business_hours,
            response_target_seconds=settings.response_target_seconds,
            next_response_target_seconds=settings.next_response_target_seconds,
            resolution_target_seconds=settings.resolution_target_seconds,
            quiet_hours=settings.quiet_hours,
        ),
    },
    # A process per step costs seconds on a small machine, and the steps run one by one anyway.
    executor=dg.in_process_executor,
)
