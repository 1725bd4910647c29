"""The jobs that sync and check; those that write are in `write_back.py`."""

import dagster as dg

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.checks import CHECKS

sync_job = dg.define_asset_job(
    "sync_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="Everything, from the API to the metrics, for one day or a range of days.",
)

# Dagster leaves out the checks of an asset whose step failed, and a check of freshness is of no use
# if only a sync runs it.
checks_job = dg.define_asset_job(
    "checks_job",
    selection=dg.AssetSelection.checks(*CHECKS),
    description="Every check, without syncing anything. Costs one request.",
)
