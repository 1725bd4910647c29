"""The job that does everything."""

import dagster as dg

from zipchat_dagster.assets import ASSETS

sync_job = dg.define_asset_job(
    "sync_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="Everything, from the API to the metrics, for one day or a range of days.",
)
