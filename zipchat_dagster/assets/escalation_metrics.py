"""`escalation_metrics` and `activity_by_hour`: each day's numbers, by day and by hour."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from zipchat_dagster.assets.common import (
    DATABASE_POOL,
    FRESHNESS,
    METRICS,
    OWNERS,
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
from zipchat_dagster.warehouse import Warehouse, summaries
from zipchat_dagster.warehouse.derive import rebuild_facts, rebuild_metrics

DESCRIPTIONS: Final = {
    "escalation_metrics": """Metrics of the partition's day, for all conversations, each channel
and each agent.

An escalation counts on the day it happened, no matter when it was answered or resolved. So a
late answer or resolution changes a past day: every run also computes the days that changed
records touch, and stores those whose numbers differ. The facts are brought up to date first.

Cost: no request.""",
    "activity_by_hour": """What happened in each hour of the partition's day, for all conversations
and each channel: arrivals, messages, active agents, escalations, and how many were open at its end.

It is computed and stored together with `escalation_metrics`, for the same days, so its hours add
up to that table's days.

Cost: no request.""",
}


@dg.multi_asset(
    name="escalation_metrics",
    specs=[
        dg.AssetSpec(
            table,
            description=description,
            group_name=METRICS,
            kinds={"duckdb", "sql"},
            owners=OWNERS,
            freshness_policy=FRESHNESS,
            metadata=table_metadata(table),
            # Not the facts: an asset without partitions in between would split a backfill into
            # runs.
            deps=[users, raw_conversations, raw_messages],
        )
        for table, description in DESCRIPTIONS.items()
    ],
    pool=DATABASE_POOL,
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
)
def escalation_metrics(
    context: dg.AssetExecutionContext,
    config: DerivedConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
    metric_settings: MetricSettings,
) -> Iterator[dg.MaterializeResult]:
    """Computes both tables, whichever of them are selected, for the days of the run and for older
    days that have changed."""
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
    for table in sorted(key.to_user_string() for key in context.selected_asset_keys):
        found = _partition_metadata(tables, table, sorted(written), chat_id=zipchat.chat)
        for day in days:
            context.add_asset_metadata(found[day], asset_key=table, partition_key=day)
        for day in restated:
            numbers = {"restated": True, **found[day]}
            context.log_event(dg.AssetMaterialization(table, partition=day, metadata=numbers))
        metadata: dict[str, Any] = {"days_restated": len(restated), **column_lineage(table)}
        if table == "escalation_metrics":
            preview = summaries.metrics_table(tables, chat_id=zipchat.chat)
            metadata["preview"] = dg.MetadataValue.md(f"```\n{preview}\n```")
        yield dg.MaterializeResult(asset_key=table, metadata=metadata)


def _partition_metadata(
    tables: Warehouse, table: str, days: Sequence[str], *, chat_id: int
) -> dict[str, dict[str, float]]:
    """Day → name → number, which Dagster plots over the partitions."""
    found = summaries.partition_counts(tables, table, days, chat_id=chat_id)
    if table != "escalation_metrics":
        return found
    figures = summaries.key_figures(tables, days, chat_id=chat_id)
    return {day: {**found[day], **figures[day]} for day in days}
