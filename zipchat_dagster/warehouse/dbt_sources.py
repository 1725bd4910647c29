"""The tables as dbt sources: `docs/dbt_sources.yml`, which is generated from `schema.sql`."""

from __future__ import annotations

from typing import Any, Final

import yaml

from zipchat_dagster.warehouse.tables import Table, schema_tables

# In a quiet hour nothing is stored, so the newest row does not show when the last run was. The
# listing does, and so do the metrics of today, which each run computes.
LISTED: Final = {"loaded_at_query": "select max(as_of) from zipchat.listing_coverage"}
COMPUTED: Final = {"loaded_at_field": "computed_at"}
NO_FRESHNESS: Final = {"freshness": None}
# The tables that are Dagster assets, each under its asset's key.
ASSETS: Final[dict[str, dict[str, Any]]] = {
    "users": {"loaded_at_field": "observed_at"},
    "raw_conversations": LISTED,
    "raw_messages": LISTED,
    "leads": NO_FRESHNESS,
    "escalations": NO_FRESHNESS,
    "customer_turns": NO_FRESHNESS,
    "sla_events": NO_FRESHNESS,
    "conversation_facts": NO_FRESHNESS,
    "escalation_metrics": COMPUTED,
    "activity_by_hour": COMPUTED,
}
FRESHNESS: Final = {
    "warn_after": {"count": 3, "period": "hour"},
    "error_after": {"count": 26, "period": "hour"},
}
_HEAD = """\
# Generated from zipchat_dagster/warehouse/sql/schema.sql. Copy it into the models folder of a dbt
# project whose profile (dbt-duckdb) attaches the database or its published copy.
"""


def dbt_sources() -> str:
    """The whole file, for dbt 1.10 or newer."""
    tables = [_source(schema_tables()[name], freshness) for name, freshness in ASSETS.items()]
    source = {
        "name": "zipchat",
        "description": "A Zipchat chat, as zipchat_dagster stores it.",
        "schema": "zipchat",
        "config": {"freshness": FRESHNESS},
        "tables": tables,
    }
    document = {"version": 2, "sources": [source]}
    return _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _source(table: Table, freshness: dict[str, Any]) -> dict[str, Any]:
    config = {"meta": {"dagster": {"asset_key": [table.name]}}, **freshness}
    columns: list[dict[str, Any]] = []
    for column in table.columns:
        described: dict[str, Any] = {
            "name": column.name,
            "data_type": column.type,
            "description": column.description,
        }
        if column.is_personal:
            described["config"] = {"tags": ["personal_data"]}
        if column.name in table.key:
            described["data_tests"] = ["not_null"]
        columns.append(described)
    key = f"concat_ws(' ', {', '.join(table.key)})"
    return {
        "name": table.name,
        "description": f"Grain: {table.grain}.",
        "config": config,
        "data_tests": [{"unique": {"arguments": {"column_name": key}}}],
        "columns": columns,
    }
