"""The assets, checks and jobs of a single chat, as `zipchat_dagster.definitions` builds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import dagster as dg

from zipchat_dagster.assets import build_assets
from zipchat_dagster.checks import build_checks
from zipchat_dagster.jobs import sync_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import ZipchatResource
from zipchat_dagster.sandbox import DEFAULT_KEY

LANE: Final = Lane()
ASSETS: Final = build_assets(LANE)
CHECKS: Final = build_checks(LANE)
SYNC_JOB: Final = sync_job(LANE, ASSETS)
# In a run's config: print nothing of it.
QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def api_at(url: str, folder: Path | str, **changes: Any) -> ZipchatResource:
    """The API of chat 1 at an address, with a budget of its own in the folder."""
    usual = {"api_key": DEFAULT_KEY, "chat_id": "1"}
    budget = f"{folder}/budget.sqlite"
    return ZipchatResource(base_url=url, budget_database=budget, **usual | changes)


def metadata_of(result: dg.ExecuteInProcessResult, asset: str = "") -> dict[str, Any]:
    """The metadata of the only step of a job, or of an asset's last materialization."""
    if asset:
        *_, event = result.asset_materializations_for_node(asset)
        found = event.metadata
    else:
        (step,) = [event for event in result.all_events if event.is_successful_output]
        found = step.step_output_data.metadata
    return {name: value.value for name, value in found.items()}
