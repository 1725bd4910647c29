"""Zipchat conversations in DuckDB, and what they say about escalations, with Dagster."""

import warnings

# Dagster calls `backfill_policy` beta, once per asset and process; it makes a range one run.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")
