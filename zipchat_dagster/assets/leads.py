"""`leads`: the customers behind the conversations, ready for a CRM."""

import dagster as dg

from zipchat_dagster.assets.common import (
    DATABASE_POOL,
    FRESHNESS,
    METRICS,
    OWNERS,
    preview,
    table_metadata,
)
from zipchat_dagster.assets.lineage import column_lineage
from zipchat_dagster.assets.raw_conversations import raw_conversations
from zipchat_dagster.assets.raw_messages import raw_messages
from zipchat_dagster.resources import WarehouseResource, ZipchatResource
from zipchat_dagster.warehouse.derive import rebuild_leads
from zipchat_dagster.warehouse.tables import sql_version


@dg.asset(
    group_name=METRICS,
    kinds={"duckdb", "sql"},
    owners=OWNERS,
    pool=DATABASE_POOL,
    freshness_policy=FRESHNESS,
    metadata=table_metadata("leads"),
    code_version=sql_version("rebuild_leads"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[raw_conversations, raw_messages],
)
def leads(zipchat: ZipchatResource, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """One row per lead: its newest known fields, how many conversations it had, and when.

    First and last name, the shop's customer id and further attributes are only in the answers that
    also bring messages.

    Cost: no request.
    """
    count = rebuild_leads(warehouse.warehouse)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": count,
            **column_lineage("leads"),
            **preview(warehouse.warehouse, "leads", chat_id=zipchat.chat),
        }
    )
