"""`escalation_metrics` and `activity_by_hour`: each day's numbers, by day and by hour."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from zipchat_dagster.assets.common import database_step, of_table, window_days
from zipchat_dagster.assets.facts import DerivedConfig
from zipchat_dagster.assets.lineage import column_lineage
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse import Warehouse, summaries
from zipchat_dagster.warehouse.derive import rebuild_facts, rebuild_metrics

DESCRIPTIONS: Final = {
    "escalation_metrics": """Metrics of the partition's day, for all conversations, each channel
and each agent.

An escalation counts on the day it happened, no matter when it was answered or resolved. A late
answer or resolution therefore changes a past day. Every run also recomputes the days that changed
records touch, and stores those with different numbers. The facts are brought up to date first.

Cost: no request.""",
    "activity_by_hour": """Activity in each hour of the partition's day, for all conversations and
each channel: new conversations, messages, active agents, escalations, and escalations open at the
end of the hour.

Computed and stored together with `escalation_metrics`, for the same days, so the hours add up to
that table's days.

Cost: no request.""",
}


def escalation_metrics(lane: Lane) -> dg.AssetsDefinition:
    """Both tables of one chat, in one step."""

    @dg.multi_asset(
        name=lane.step("escalation_metrics"),
        specs=[
            dg.AssetSpec(
                **of_table(lane, table, "facts_*", "metrics", "metrics_*"),
                description=description,
                # Not the facts: an unpartitioned asset in between would split a backfill into
                # several runs.
                deps=[lane.key(name) for name in ("users", "raw_conversations", "raw_messages")],
            )
            for table, description in DESCRIPTIONS.items()
        ],
        **database_step(lane),
        partitions_def=lane.daily,
        can_subset=True,
    )
    def escalation_metrics(
        context: dg.AssetExecutionContext, config: DerivedConfig
    ) -> Iterator[dg.MaterializeResult]:
        """Computes both tables, whichever is selected, for the days of the run and for older days
        that have changed."""
        yield from _materialize(context, config, lane)

    return escalation_metrics


def _materialize(
    context: dg.AssetExecutionContext, config: DerivedConfig, lane: Lane
) -> Iterator[dg.MaterializeResult]:
    chat_id, tables = lane.zipchat(context).chat, lane.warehouse(context)
    days = window_days(context)
    now, rules = datetime.now(UTC), lane.metric_settings(context).rules(tables.timezone)
    rebuild_facts(tables, chat_id=chat_id, now=now, rules=rules, from_scratch=config.from_scratch)
    written = rebuild_metrics(
        tables,
        chat_id=chat_id,
        days=days,
        now=now,
        rules=rules,
        from_scratch=config.from_scratch,
    )
    restated = sorted(set(written) - set(days))
    for day in restated:
        context.log.info(f"The metrics of {day} changed and were updated.")
    for table in sorted(key.path[-1] for key in context.selected_asset_keys):
        key = lane.key(table)
        found = _partition_metadata(tables, table, sorted(written), chat_id=chat_id)
        for day in days:
            context.add_asset_metadata(found[day], asset_key=key, partition_key=day)
        for day in restated:
            numbers = {"restated": True, **found[day]}
            context.log_event(dg.AssetMaterialization(key, partition=day, metadata=numbers))
        metadata: dict[str, Any] = {
            "days_restated": len(restated),
            **column_lineage(table, key=lane.key),
        }
        if table == "escalation_metrics":
            preview = summaries.metrics_table(tables, chat_id=chat_id)
            metadata["preview"] = dg.MetadataValue.md(f"```\n{preview}\n```")
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)


def _partition_metadata(
    tables: Warehouse, table: str, days: Sequence[str], *, chat_id: int
) -> dict[str, dict[str, float]]:
    """Day → name → number, which Dagster plots over the partitions."""
    found = summaries.partition_counts(tables, table, days, chat_id=chat_id)
    if table != "escalation_metrics":
        return found
    figures = summaries.key_figures(tables, days, chat_id=chat_id)
    return {
        day: found[day] | {name: round(value, 4) for name, value in figures[day].items()}
        for day in days
    }
