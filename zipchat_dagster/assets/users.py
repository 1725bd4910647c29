"""`users`: who can be assigned to conversations."""

from datetime import UTC, datetime

import dagster as dg

from zipchat_dagster.assets.common import RAW, api_step, asset, cost, of_table, preview, rewritten
from zipchat_dagster.lanes import Lane
from zipchat_dagster.sync import sync_users
from zipchat_dagster.warehouse import store


def users(lane: Lane) -> dg.AssetsDefinition:
    """The users of one chat."""

    @asset(**of_table(lane, "users", "merge_users", "retire_users", group=RAW), **api_step(lane))
    def users(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The users who can be assigned to this chat's conversations. Users that the API no longer
        shows stay, with `is_current = false`.

        Cost: one request per 100 users.
        """
        zipchat, warehouse = lane.zipchat(context), lane.warehouse(context)
        _store_chats(context, lane)
        rewriting = rewritten(context, lane)
        with zipchat.client(context) as client:
            count = sync_users(client, warehouse)
            return dg.MaterializeResult(
                metadata={
                    "dagster/row_count": count,
                    "source": zipchat.source,
                    **cost(client),
                    **rewriting,
                    **preview(warehouse, "users", chat_id=zipchat.chat),
                }
            )

    return users


def _store_chats(context: dg.AssetExecutionContext, lane: Lane) -> None:
    """Update the table `chats`. This comes first, so it also works if the API refuses the key."""
    chat_id = lane.zipchat(context).chat
    with lane.warehouse(context).transaction() as transaction:
        removed = store.store_chats(
            transaction,
            lane.chats or {chat_id: lane.name or str(chat_id)},
            now=datetime.now(UTC),
            is_complete=lane.chats is not None,
        )
    for removed_id, name in removed:
        context.log.warning(
            f"{name} (chat {removed_id}) is no longer in ZIPCHAT_CHATS. Its rows stay in the"
            " tables but are no longer synced."
        )
