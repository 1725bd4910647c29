"""`chats_report`: an overview of several chats, as one HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import DATABASE_POOL, METRICS, ONE_RUN, SHOWN, asset
from zipchat_dagster.assets.escalation_report import replace_file, report_path
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource


class ChatsReportConfig(dg.Config):
    """The range of the page, and where it goes."""

    days: int = Field(default=7, ge=1, description="Days in the range, and in the one before it.")
    path: str | None = Field(
        default=None,
        description=(
            "Where to write the page. It links to the chats' reports in the same folder. Default:"
            " next to the database, for example data/warehouse_report.html for"
            " data/warehouse.duckdb."
        ),
    )


def chats_report(
    chats: Sequence[tuple[Lane, ZipchatResource, MetricSettings]],
) -> dg.AssetsDefinition:
    """The report of these chats, which share the resource `warehouse`."""

    @asset(
        kinds={"html", "javascript"},
        group_name=METRICS,
        **SHOWN,
        pool=DATABASE_POOL,
        backfill_policy=ONE_RUN,
        deps=[lane.key("escalation_report") for lane, _, _ in chats],
    )
    def chats_report(
        context: dg.AssetExecutionContext, config: ChatsReportConfig, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:
        """One HTML file, which needs no network: for each chat, who is waiting now, escalations and
        their rate, response times, what the AI did alone and when it was synced, compared with the
        days before. Each chat links to its own report.

        Cost: no request.
        """
        # Imported here because it is slow, and every start of the code location would pay for it.
        from zipchat_dagster.report.chats import ListedChat, chats_page, headline, read_chats

        tables = warehouse.warehouse
        listed = [
            ListedChat(
                chat_id=zipchat.chat,
                name=lane.name,
                link=report_path(tables, lane).name,
                target_seconds=metric_settings.response_target_seconds,
                source=zipchat.banner,
            )
            for lane, zipchat, metric_settings in chats
        ]
        data = read_chats(tables, listed, days=config.days, now=datetime.now(UTC))
        path = Path(config.path or tables.path.with_name(f"{tables.path.stem}_report.html"))
        replace_file(path, chats_page(data))
        context.log.info(f"The report of {len(listed)} chats was written to {path}.")
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.path(str(path)),
                "first_day": data["first"],
                "last_day": data["last"],
                **headline(data),
            }
        )

    return chats_report
