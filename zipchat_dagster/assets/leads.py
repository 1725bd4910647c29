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
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse.derive import rebuild_leads
from zipchat_dagster.warehouse.tables import sql_version


def leads(lane: Lane) -> dg.AssetsDefinition:
    """The leads of one chat."""

    @dg.asset(
        key=lane.key("leads"),
        group_name=lane.named(METRICS),
        kinds={"duckdb", "sql"},
        owners=OWNERS,
        pool=DATABASE_POOL,
        required_resource_keys={lane.zipchat_key, lane.warehouse_key},
        freshness_policy=FRESHNESS,
        metadata=table_metadata("leads"),
        code_version=sql_version("*_leads"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[lane.key("raw_conversations"), lane.key("raw_messages")],
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """One row per lead: its newest known fields, how many conversations it had, and when.

        First and last name, the shop's customer id and further attributes are only in the answers
        that also bring messages.

        Cost: no request.
        """
        chat_id, tables = lane.zipchat(context).chat, lane.warehouse(context)
        count = rebuild_leads(tables, chat_id=chat_id)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": count,
                **column_lineage("leads", key=lane.key),
                **preview(tables, "leads", chat_id=chat_id),
            }
        )

    return leads
