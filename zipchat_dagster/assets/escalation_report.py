"""`escalation_report`: the metrics of a range as one page that people like to look at."""

import base64
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import DATABASE_POOL, FRESHNESS, METRICS, OWNERS
from zipchat_dagster.assets.escalation_metrics import escalation_metrics
from zipchat_dagster.assets.escalations import escalations
from zipchat_dagster.assets.users import users
from zipchat_dagster.resources import WarehouseResource, ZipchatResource


class ReportConfig(dg.Config):
    """The range of the report; the last 30 days unless it is told otherwise."""

    first: str | None = Field(default=None, description="First day, such as 2026-01-01.")
    last: str | None = Field(default=None, description="Last day; today if not given.")
    path: str | None = Field(
        default=None,
        description="Where to write it; escalation_report.html beside the database if not given.",
    )


@dg.asset(
    group_name=METRICS,
    kinds={"html", "matplotlib"},
    owners=OWNERS,
    pool=DATABASE_POOL,
    freshness_policy=FRESHNESS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[users, escalations, escalation_metrics],
)
def escalation_report(
    context: dg.AssetExecutionContext,
    config: ReportConfig,
    zipchat: ZipchatResource,
    warehouse: WarehouseResource,
) -> dg.MaterializeResult:
    """One self-contained HTML page: volume and escalation rate, response and resolution times,
    channels, agents, open backlog by age. The last 30 days by default.

    Cost: no request.
    """
    # matplotlib takes a second to load, which every start of the code location would pay.
    from zipchat_dagster.report import build_report

    tables = warehouse.warehouse
    now = datetime.now(UTC)
    last = _day(config.last, "last") or now.astimezone(ZoneInfo(tables.timezone)).date()
    first = _day(config.first, "first") or last - timedelta(days=29)
    if first > last:
        raise dg.Failure(f"The report's first day, {first}, comes after its last, {last}.")
    report = build_report(tables, chat_id=zipchat.chat, first=first, last=last, now=now)
    path = Path(config.path or tables.path.with_name("escalation_report.html"))
    written = path.with_suffix(".tmp")
    written.write_text(report.html, encoding="utf-8")
    written.replace(path)
    context.log.info(f"The report of {first} to {last} is in {path}.")
    image = base64.b64encode(report.png).decode()
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(str(path)),
            "chart": dg.MetadataValue.md(f"![escalations by day](data:image/png;base64,{image})"),
            "first": str(first),
            "last": str(last),
            **{name: value for name, value in report.summary.items() if value is not None},
        }
    )


def _day(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise dg.Failure(f"{name}: “{text}” is no date. Write one such as 2026-01-31.") from None
