"""Jobs."""

import dagster as dg

from zipchat_dagster.assets import ASSETS
from zipchat_dagster.partitions import daily

sync_job = dg.define_asset_job(
    "sync_job",
    selection=dg.AssetSelection.assets(*ASSETS),
    partitions_def=daily,
    description="Everything, from the API to the metrics, for one day or a range of days.",
)
