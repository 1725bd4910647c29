"""`leads`: the customers behind the conversations, ready for a CRM."""

import dagster as dg

from zipchat_dagster.assets.common import asset, database_step, of_table, preview
from zipchat_dagster.assets.lineage import column_lineage
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse.derive import rebuild_leads


def leads(lane: Lane) -> dg.AssetsDefinition:
    """The leads of one chat."""

    @asset(
        **of_table(lane, "leads", "*_leads"),
        **database_step(lane),
        deps=[lane.key("raw_conversations"), lane.key("raw_messages")],
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """One row per lead: its newest known fields, and how many conversations it had and when.

        First and last name, the shop's customer id and additional attributes are known once the
        messages of one of its conversations have been read.

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
