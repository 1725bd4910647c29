"""`raw_messages`: every message."""

import time

import dagster as dg

from zipchat_dagster.assets.common import (
    RAW,
    SyncConfig,
    add_partition_metadata,
    api_step,
    asset,
    cost,
    of_table,
    preview,
    rewritten,
    window_days,
)
from zipchat_dagster.lanes import Lane
from zipchat_dagster.partitions import is_live
from zipchat_dagster.sync import sync_messages
from zipchat_dagster.warehouse import summaries

LONG_RUN = 60.0  # seconds, after which days are reported as soon as they are finished
MOST_RETRIED = 30  # failed conversations of other days that a run of today retries


def raw_messages(lane: Lane) -> dg.AssetsDefinition:
    """The messages of one chat."""

    @asset(
        **of_table(lane, "raw_messages", "merge_messages", "merge_message_coverage", group=RAW),
        **api_step(lane),
        partitions_def=lane.daily,
        deps=[lane.key("raw_conversations")],
    )
    def raw_messages(context: dg.AssetExecutionContext, config: SyncConfig) -> dg.MaterializeResult:
        """Messages **created** on the partition's day.

        A run reads each conversation that can have messages in the range and whose newest message
        is not stored yet. It commits batches of about 4,000 rows or one second, whichever comes
        first, so a killed run loses at most one batch. A long run reports its days as they finish.

        A conversation that cannot be read does not stop the run. `conversations_failed` counts it,
        the check `no_conversation_was_skipped` names it, and the next run of today tries again.

        Cost: one request per conversation with new messages, or more if it has over 200 of them.
        """
        return _materialize(context, config, lane)

    return raw_messages


def _materialize(
    context: dg.AssetExecutionContext, config: SyncConfig, lane: Lane
) -> dg.MaterializeResult:
    window = context.partition_time_window
    zipchat, tables = lane.zipchat(context), lane.warehouse(context)
    rewriting = rewritten(context, lane)
    days = window_days(context)
    began_at = time.monotonic()

    def on_day(day: str) -> None:
        # The run's own event comes at its end, so a long run that dies would have reported nothing.
        if len(days) > 1 and time.monotonic() - began_at > LONG_RUN:
            context.log.info(f"All messages of {day} are stored.")
            counts = summaries.partition_counts(
                tables, "raw_messages", [day], chat_id=zipchat.chat
            ).get(day, {})
            context.log_event(
                dg.AssetMaterialization(context.asset_key, partition=day, metadata=counts)
            )

    with zipchat.client(context) as client:
        result = sync_messages(
            client,
            tables,
            since=window.start,
            until=window.end,
            days=days,
            refresh=config.refresh,
            log=context.log,
            most_retried=MOST_RETRIED if is_live(context) else 0,
            on_day=on_day,
        )
        add_partition_metadata(
            context,
            summaries.partition_counts(tables, "raw_messages", days, chat_id=zipchat.chat),
        )
        return dg.MaterializeResult(
            metadata={
                "conversations_read": result.conversations,
                "messages_read": result.messages,
                "conversations_missing": len(result.missing),
                "conversations_failed": len(result.failures),
                "days_in_run": len(days),
                "source": zipchat.source,
                **cost(client),
                **rewriting,
                **preview(tables, "raw_messages", chat_id=zipchat.chat),
            }
        )
