"""`escalations`: every escalation that was ever seen, derived from the history."""

import dagster as dg
from pydantic import Field

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
from zipchat_dagster.warehouse.derive import rebuild_escalations


class DerivedConfig(dg.Config):
    """Run config of what is derived in steps."""

    from_scratch: bool = Field(
        default=False,
        description=(
            "Derive everything again instead of what has changed, for example after rows were"
            " edited or deleted by hand."
        ),
    )


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
def escalations(
    config: DerivedConfig, zipchat: ZipchatResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """One row per conversation and escalation, with its resolution, agent and first human response.

    The API keeps only the last escalation of a conversation; this table keeps all that were seen.
    They are derived from `conversation_history` and `raw_messages`, for the conversations that
    changed since the last run.

    Cost: no request.
    """
    tables = warehouse.warehouse
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rebuild_escalations(tables, from_scratch=config.from_scratch),
            **column_lineage("escalations"),
            **preview(tables, "escalations", chat_id=zipchat.chat),
        }
    )
