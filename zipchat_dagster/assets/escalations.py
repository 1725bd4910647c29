"""`escalations`: every escalation that was ever seen, derived from the history."""

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
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.warehouse.derive import rebuild_escalations


@dg.asset(
    group_name=METRICS,
    kinds={"duckdb", "sql"},
    owners=OWNERS,
    pool=DATABASE_POOL,
    freshness_policy=FRESHNESS,
    metadata=table_metadata("escalations"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[raw_conversations, raw_messages],
)
def escalations(warehouse: WarehouseResource) -> dg.MaterializeResult:
    """One row per conversation and escalation, with its resolution, agent and first human response.

    The API keeps only the last escalation of a conversation; this table keeps all that were seen,
    derived anew from `conversation_history` and `raw_messages` each time.

    Cost: no request.
    """
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rebuild_escalations(warehouse.warehouse),
            **column_lineage("escalations"),
            **preview(warehouse.warehouse, "escalations"),
        }
    )
