"""DuckDB: short transactions on one file, and what they store. Knows nothing of Dagster."""

from zipchat_dagster.warehouse.tables import Column, Table, schema_tables
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

__all__ = ["Column", "Table", "Transaction", "Warehouse", "schema_tables"]
