"""DuckDB: short transactions over one file, and what is stored in them. It knows no Dagster."""

from zipchat_dagster.warehouse.tables import Column, Table, tables
from zipchat_dagster.warehouse.warehouse import Transaction, Warehouse

__all__ = ["Column", "Table", "Transaction", "Warehouse", "tables"]
