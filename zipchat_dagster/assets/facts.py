"""The facts: one row per escalation, customer turn, SLA event and conversation."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import database_step, of_table, preview
from zipchat_dagster.assets.lineage import column_lineage
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse.derive import rebuild_facts

DESCRIPTIONS: Final = {
    "escalations": """\
One row per conversation and escalation, with its resolution, agent and first human response.

The API keeps only the last escalation of a conversation. This table keeps all that were seen.""",
    "customer_turns": """\
One row per customer turn: the messages that a customer wrote before the next answer, and who
answered when. It shows how long customers wait for the AI and for people, each time they ask.""",
    "sla_events": """\
One row per first response, next response and resolution that an escalated customer waits for,
with its target, the moment of its breach, and the time that passed, both around the clock and in
business hours.""",
    "conversation_facts": """\
One row per conversation: its messages by author, turns and escalations, whether the AI handled it
alone, and whether the customer came back.""",
}
_TOGETHER = """\
The four fact tables are derived together from `conversation_history` and `raw_messages`, for the
conversations that have changed since the last run.

Cost: no request."""


class DerivedConfig(dg.Config):
    """Run config of tables that are derived incrementally."""

    from_scratch: bool = Field(
        default=False,
        description=(
            "Derive everything again, not only what has changed. Set it after editing or deleting"
            " rows by hand."
        ),
    )


def facts(lane: Lane) -> dg.AssetsDefinition:
    """The facts of one chat, in one step."""

    @dg.multi_asset(
        name=lane.step("facts"),
        specs=[
            dg.AssetSpec(
                **of_table(lane, name, "facts_*"),
                deps=[lane.key("raw_conversations"), lane.key("raw_messages")],
                description=f"{description}\n\n{_TOGETHER}",
            )
            for name, description in DESCRIPTIONS.items()
        ],
        can_subset=True,
        **database_step(lane),
    )
    def facts(
        context: dg.AssetExecutionContext, config: DerivedConfig
    ) -> Iterator[dg.MaterializeResult]:
        """Derives all four tables, whichever is selected."""
        chat_id, tables = lane.zipchat(context).chat, lane.warehouse(context)
        counts = rebuild_facts(
            tables,
            chat_id=chat_id,
            now=datetime.now(UTC),
            rules=lane.metric_settings(context).rules(tables.timezone),
            from_scratch=config.from_scratch,
        )
        for name, count in counts.items():
            if lane.key(name) in context.selected_asset_keys:
                yield dg.MaterializeResult(
                    asset_key=lane.key(name),
                    metadata={
                        "dagster/row_count": count,
                        **column_lineage(name, key=lane.key),
                        **preview(tables, name, chat_id=chat_id),
                    },
                )

    return facts
