"""`users`: who can be assigned to conversations."""

import dagster as dg

from zipchat_dagster.assets.common import (
    API_POOL,
    API_RETRIES,
    FRESHNESS,
    OWNERS,
    RAW,
    cost,
    preview,
    table_metadata,
)
from zipchat_dagster.resources import WarehouseResource, ZipchatResource
from zipchat_dagster.sync import sync_users
from zipchat_dagster.warehouse.tables import sql_version


@dg.asset(
    group_name=RAW,
    kinds={"api", "duckdb"},
    owners=OWNERS,
    freshness_policy=FRESHNESS,
    pool=API_POOL,
    retry_policy=API_RETRIES,
    metadata=table_metadata("users"),
    code_version=sql_version("merge_users", "retire_users"),
    # A range from the command line needs the policy on every selected asset.
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def users(
    context: dg.AssetExecutionContext, zipchat: ZipchatResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """The users who can be assigned to this chat's conversations: one row each, kept with
    `is_current = false` when the API no longer shows them.

    Cost: one request per 100 users.
    """
    with zipchat.client(context) as client:
        count = sync_users(client, warehouse.warehouse)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": count,
                "source": zipchat.source,
                **cost(client),
                **preview(warehouse.warehouse, "users", chat_id=zipchat.chat),
            }
        )
