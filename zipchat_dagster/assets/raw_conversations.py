"""`raw_conversations`: every conversation in its newest observed state."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

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
from zipchat_dagster.sync import sync_conversations
from zipchat_dagster.warehouse import summaries


class ConversationsConfig(SyncConfig):
    """Run config, for the Launchpad and the schedules."""

    most_states: int = Field(
        default=30,
        ge=0,
        description=(
            "How many requests a run of today may spend on re-reading open escalations and"
            " conversations in manual mode. Listings do not show when these are resolved."
        ),
    )
    relist_days: int = Field(
        default=0,
        ge=0,
        description=(
            "How many days before the run to list again, to find escalations that no newer"
            " message follows. Costs one request per 100 conversations."
        ),
    )


def raw_conversations(lane: Lane) -> dg.AssetsDefinition:
    """The conversations of one chat."""

    @asset(
        **of_table(
            lane,
            "raw_conversations",
            *("type_conversations", "merge_conversations", "add_conversation_history"),
            group=RAW,
        ),
        **api_step(lane),
        partitions_def=lane.daily,
        deps=[lane.key("users")],
    )
    def raw_conversations(
        context: dg.AssetExecutionContext, config: ConversationsConfig
    ) -> dg.MaterializeResult:
        """Conversations **created** on the partition's day, each once, in its newest observed
        state.

        A run lists everything active since the start of its first day and stores all of it, older
        conversations included. Whatever an earlier run has listed is not listed again.

        A run of today also re-reads open escalations and conversations in manual mode, because a
        resolution or a hand-back changes nothing that the list can be filtered by. It re-reads
        recent ones every time and older ones less often.

        Cost: about 1.2 requests per 100 conversations active since then; one if nothing changed.
        """
        return _materialize(context, config, lane)

    return raw_conversations


def _materialize(
    context: dg.AssetExecutionContext, config: ConversationsConfig, lane: Lane
) -> dg.MaterializeResult:
    zipchat, tables = lane.zipchat(context), lane.warehouse(context)
    rewriting = rewritten(context, lane)
    with zipchat.client(context) as client:
        result = sync_conversations(
            client,
            tables,
            since=context.partition_time_window.start,
            refresh=config.refresh,
            log=context.log,
            most_states=config.most_states if is_live(context) else 0,
            relist_since=client.server_time() - timedelta(days=config.relist_days)
            if config.relist_days
            else None,
        )
        counts = summaries.partition_counts(
            tables, "raw_conversations", window_days(context), chat_id=zipchat.chat
        )
        add_partition_metadata(context, counts)
        return dg.MaterializeResult(
            metadata={
                "conversations_listed": result.conversations,
                "conversations_missing": len(result.missing),
                "conversations_reread": result.states_read,
                "requests_for_rereading": result.requests_for_states,
                "listed_since": result.since.isoformat(),
                "complete_as_of": result.as_of.isoformat(),
                "days_in_run": len(window_days(context)),
                "source": zipchat.source,
                **cost(client),
                **rewriting,
                **preview(tables, "raw_conversations", chat_id=zipchat.chat),
            }
        )
