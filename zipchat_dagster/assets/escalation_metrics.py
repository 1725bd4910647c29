"""`escalation_metrics`: how often conversations are escalated, and how fast they are answered."""

from datetime import UTC, datetime

import dagster as dg

from zipchat_dagster.assets.common import (
    DATABASE_POOL,
    FRESHNESS,
    METRICS,
    OWNERS,
    add_partition_metadata,
    table_metadata,
    window_days,
)
from zipchat_dagster.assets.facts import DerivedConfig
from zipchat_dagster.assets.lineage import column_lineage
from zipchat_dagster.assets.raw_conversations import raw_conversations
from zipchat_dagster.assets.raw_messages import raw_messages
from zipchat_dagster.assets.users import users
from zipchat_dagster.partitions import daily
from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource
from zipchat_dagster.warehouse import summaries
from zipchat_dagster.warehouse.derive import rebuild_facts, rebuild_metrics


@dg.asset(
    group_name=METRICS,
    kinds={"duckdb", "sql"},
    owners=OWNERS,
    pool=DATABASE_POOL,
    freshness_policy=FRESHNESS,
    metadata=table_metadata("escalation_metrics"),
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    # Not the facts: an asset without partitions in between would split a backfill into runs.
    deps=[users, raw_conversations, raw_messages],
)
def escalation_metrics(
    context: dg.AssetExecutionContext,
    config: DerivedConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
    metric_settings: MetricSettings,
) -> dg.MaterializeResult:
    """Metrics of the partition's day, for all conversations, each channel and each agent.

    An escalation counts on the day it happened, no matter when it was answered or resolved. So a
    late answer or resolution changes a past day: every run also computes the days that changed
    records touch, and stores those whose numbers differ. The facts are brought up to date first.

    Cost: no request.
    """
    tables = warehouse.warehouse
    days = window_days(context)
    now, rules = datetime.now(UTC), metric_settings.rules(tables.timezone)
    rebuild_facts(tables, now=now, rules=rules, from_scratch=config.from_scratch)
    written = rebuild_metrics(
        tables,
        chat_id=zipchat.chat,
        days=days,
        now=now,
        rules=rules,
        from_scratch=config.from_scratch,
    )
    restated = sorted(set(written) - set(days))
    for day in restated:
        context.log.info(f"The metrics of {day} changed and were stored again.")
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=day, metadata={"restated": True})
        )
    counts = summaries.partition_counts(tables, "escalation_metrics", days, chat_id=zipchat.chat)
    add_partition_metadata(context, counts)
    table = summaries.metrics_table(tables, chat_id=zipchat.chat)
    return dg.MaterializeResult(
        metadata={
            "days_restated": len(restated),
            "preview": dg.MetadataValue.md(f"```\n{table}\n```"),
            **column_lineage("escalation_metrics"),
        }
    )
