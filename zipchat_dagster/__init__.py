"""Zipchat conversations in DuckDB, and what they say about escalations, with Dagster."""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipchat_dagster.component import ZipchatComponent

__all__ = ["ZipchatComponent"]

# Dagster calls `backfill_policy` beta, once per asset and process; it makes a range one run.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`")


def __getattr__(name: str) -> Any:
    """`dg` looks for components here; the client alone needs no Dagster."""
    if name == "ZipchatComponent":
        return importlib.import_module("zipchat_dagster.component").ZipchatComponent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
