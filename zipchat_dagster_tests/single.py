"""The assets, checks and jobs of the only chat, as `zipchat_dagster.definitions` builds them."""

from typing import Any, Final

import dagster as dg

from zipchat_dagster.assets import build_assets
from zipchat_dagster.checks import build_checks
from zipchat_dagster.jobs import sync_job
from zipchat_dagster.lanes import Lane

LANE: Final = Lane()
ASSETS: Final = build_assets(LANE)
CHECKS: Final = build_checks(LANE)
SYNC_JOB: Final = sync_job(LANE, ASSETS)


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the only step of a job."""
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}
