"""What the assets share: run config, attributes, table metadata, cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

import dagster as dg
from pydantic import Field

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.copies import replace_copies
from zipchat_dagster.lanes import Lane
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse, schema_tables, summaries
from zipchat_dagster.warehouse.engine import LastingError
from zipchat_dagster.warehouse.rewriting import rewrite_personal_data
from zipchat_dagster.warehouse.tables import sql_version

API_POOL = "zipchat_api"  # see dagster.yaml
DATABASE_POOL = "zipchat_duckdb"
# Priorities in the queue of runs. Backfills have none and come last.
URGENT = "20"  # somebody is waiting
LIVE = "10"
AssetDecorator: TypeAlias = Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]
RAW = "zipchat_raw"
METRICS = "zipchat_metrics"

# A range from the command line needs the policy on every selected asset, partitioned or not.
ONE_RUN = dg.BackfillPolicy.single_run()
# For Dagster's own health view. It looks at the newest materialization of any partition, so for
# daily assets rely on the check today_is_up_to_date.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=26), warn_window=timedelta(hours=3)
)
# Of every asset.
SHOWN: Final[dict[str, Any]] = {
    "owners": ["team:support-analytics"],
    "freshness_policy": FRESHNESS,
}


class _RetryPolicy(dg.RetryPolicy):
    """Does not retry in a run that was terminated. Dagster would retry the step that it has just
    interrupted, and the run would go on some minutes later. Nor does it retry what only a person
    can fix."""

    def calculate_delay(self, attempt_num: int) -> Any:
        error = sys.exc_info()[1]
        if isinstance(error, (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
            raise error
        if isinstance(error, LastingError):
            raise dg.Failure(description=str(error), allow_retries=False) from None
        return super().calculate_delay(attempt_num)


# For an API that is down for minutes, since the client retries a call for seconds only. Errors that
# a retry cannot fix are not retried (resources.py).
API_RETRIES = _RetryPolicy(
    max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


class SyncConfig(dg.Config):
    """Run config of the assets that read the API."""

    refresh: bool = Field(
        default=False,
        description="Read everything in the range from the API again, even if it is stored.",
    )


def day_of(text: str | None, name: str) -> date | None:
    """The day in the field `name` of a run's config; None if it is empty."""
    try:
        return date.fromisoformat(text.strip()) if text and text.strip() else None
    except ValueError:
        raise dg.Failure(
            f"{name}: “{text}” is not a date such as 2026-01-31.", allow_retries=False
        ) from None


def asset(**attributes: Any) -> AssetDecorator:
    """`dg.asset`, typed for arguments that come from a dict."""
    decorator: AssetDecorator = dg.asset(**attributes)
    return decorator


def of_table(lane: Lane, name: str, *sql: str, group: str = METRICS) -> dict[str, Any]:
    """The attributes of an asset that is a table, written by the statements `sql`."""
    return {
        "key": lane.key(name),
        "kinds": {"api", "duckdb"} if group == RAW else {"duckdb", "sql"},
        "metadata": _table_metadata(name),
        "code_version": sql_version(*sql),
        "group_name": lane.named(group),
        **SHOWN,
    }


def api_step(lane: Lane) -> dict[str, Any]:
    """The attributes of a step that reads the API."""
    return {
        "pool": lane.own(API_POOL),
        "required_resource_keys": {lane.zipchat_key, lane.warehouse_key},
        "retry_policy": API_RETRIES,
        "backfill_policy": ONE_RUN,
    }


def database_step(lane: Lane) -> dict[str, Any]:
    """The attributes of a step that derives something from the tables."""
    return {
        "pool": DATABASE_POOL,
        "required_resource_keys": lane.resource_keys,
        "backfill_policy": ONE_RUN,
    }


def _table_metadata(name: str) -> dict[str, Any]:
    """Metadata of an asset's definition: its table's name, columns and grain."""
    found = schema_tables()[name]
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            description=column.description,
            tags={"personal_data": ""} if column.is_personal else None,
        )
        for column in found.columns
    ]
    page = PROJECT / "docs" / "tables.md"
    documentation = dg.MetadataValue.path(f"{page}#{name}")
    return {
        # An installed package has no docs folder.
        **({"documentation": documentation} if page.exists() else {}),
        "dagster/table_name": f"zipchat.{name}",
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "grain": found.grain,
    }


def preview(warehouse: Warehouse, table: str, *, chat_id: int) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of a materialization: the newest rows of the table, without personal data."""
    records = [dg.TableRecord(row) for row in summaries.preview(warehouse, table, chat_id=chat_id)]
    return {"preview": dg.MetadataValue.table(records)} if records else {}


def rewritten(context: dg.AssetExecutionContext, lane: Lane) -> dict[str, dg.MetadataValue[Any]]:
    """Rewrite personal data if ZIPCHAT_PII has become stricter, before the step stores anything.
    Returns metadata of the materialization: how many rows of each table were rewritten."""
    resource = lane.warehouse_resource(context)
    rows = rewrite_personal_data(
        lane.warehouse(context), context.log, lambda: replace_copies(resource)
    )
    return {"rows_rewritten": dg.MetadataValue.json(rows)} if rows else {}


def cost(client: ZipchatClient) -> dict[str, int | float]:
    """Metadata of a materialization: what the step cost."""
    return {
        "requests": client.requests,
        "requests_refused": client.refused,
        "seconds_waited": round(client.waited_seconds, 1),
    }


def window_days(context: dg.AssetExecutionContext) -> list[str]:
    """The partitions of this run, in order, as ISO dates."""
    return sorted(context.partition_keys)


def add_partition_metadata(
    context: dg.AssetExecutionContext, counts: dict[str, dict[str, float]]
) -> None:
    """Give each partition of the run its own metadata, from day → name → number."""
    for day in window_days(context):
        context.add_asset_metadata(counts.get(day, {}), partition_key=day)
