"""`escalation_report`: a page for support leads, as one HTML file."""

import base64
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from zipchat_dagster.assets.common import METRICS, SHOWN, asset, database_step, day_of
from zipchat_dagster.lanes import Lane
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import FACTS
from zipchat_dagster.warehouse.file import OWNER_ONLY


class ReportConfig(dg.Config):
    """The days that the page contains. Default: those of the last 90 days that have metrics."""

    first: str | None = Field(default=None, description="First day, such as 2026-01-01.")
    last: str | None = Field(default=None, description="Last day, inclusive.")
    path: str | None = Field(
        default=None,
        description=(
            "Where to write the page. Default: next to the database, for example"
            " data/warehouse_report.html for data/warehouse.duckdb."
        ),
    )


def escalation_report(lane: Lane) -> dg.AssetsDefinition:
    """The report of one chat."""

    @asset(
        key=lane.key("escalation_report"),
        kinds={"html", "javascript"},
        group_name=lane.named(METRICS),
        **SHOWN,
        **database_step(lane),
        deps=[lane.key(name) for name in ("users", *FACTS, "escalation_metrics")],
    )
    def escalation_report(
        context: dg.AssetExecutionContext, config: ReportConfig
    ) -> dg.MaterializeResult:
        """One HTML file for support leads, which needs no network: who is waiting now, volume and
        escalation rate, response and resolution times, hours of the week, backlog, the AI compared
        with people, channels and agents. The range, channel and agent are chosen in the page, and
        each figure lists its conversations. A banner warns if the data is not from Zipchat.

        Cost: no request.
        """
        return write_report(context, config, lane)

    return escalation_report


def report_path(tables: Warehouse, lane: Lane) -> Path:
    """Where a chat's report is by default: beside the database."""
    return tables.path.with_name(f"{tables.path.stem}_{lane.named('report')}.html")


def write_report(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, config: ReportConfig, lane: Lane
) -> dg.MaterializeResult:
    """Write the report of a chat. Returns its metadata."""
    # Imported here because it is slow, and every start of the code location would pay for it.
    from zipchat_dagster.report import build_report

    zipchat, tables = lane.zipchat(context), lane.warehouse(context)
    metric_settings = lane.metric_settings(context)
    now = datetime.now(UTC)
    first, last = _range(config, tables, zipchat.chat, now)
    path = Path(config.path or report_path(tables, lane))
    report = build_report(
        tables,
        chat_id=zipchat.chat,
        first=first,
        last=last,
        now=now,
        target_seconds=metric_settings.response_target_seconds,
        quiet_hours=metric_settings.quiet_hours,
        business_hours=metric_settings.business_hours,
        source=zipchat.banner,
        name=lane.name,
        former=path,
    )
    replace_file(path, report.html)
    context.log.info(f"The report of {first} to {last} was written to {path}.")
    image = base64.b64encode(report.png).decode()
    return dg.MaterializeResult(
        metadata={
            # Not a link: a browser does not open local files from a web page.
            "report": dg.MetadataValue.path(str(path)),
            "chart": dg.MetadataValue.md(
                f"![escalations, first response and backlog by day](data:image/png;base64,{image})"
            ),
            "first_day": str(first),
            "last_day": str(last),
            **{
                name: round(value, 4) for name, value in report.summary.items() if value is not None
            },
        }
    )


def replace_file(path: Path, text: str) -> None:
    """Replace `path` by a file with this text, which keeps the old one's mode and by default is
    for its owner only. Readers see the old file or the new one; the last of several writers wins.
    """
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f"{path.name}.", delete=False
    ) as file:
        written = Path(file.name)
        try:
            file.write(text)
            file.flush()
            written.chmod(path.stat().st_mode & 0o777 if path.exists() else OWNER_ONLY)
            written.replace(path)
        except BaseException:
            written.unlink()
            raise


def _range(
    config: ReportConfig, tables: Warehouse, chat_id: int, now: datetime
) -> tuple[date, date]:
    from zipchat_dagster.report.data import measured_days

    last = day_of(config.last, "last") or now.astimezone(ZoneInfo(tables.timezone)).date()
    first = day_of(config.first, "first") or last - timedelta(days=89)
    if first > last:
        raise dg.Failure(
            f"The report's first day, {first}, is after its last, {last}.", allow_retries=False
        )
    # Days that the config names are always shown, with gaps.
    measured = measured_days(tables, chat_id=chat_id, first=first, last=last) or (first, last)
    return (first if config.first else measured[0]), (last if config.last else measured[1])
