"""A small chat, synced through Dagster with all checks passing, and copies of it to break."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from zipchat_dagster.resources import MetricSettings, WarehouseResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster_tests.conftest import NOW
from zipchat_dagster_tests.single import ASSETS, CHECKS, QUIET, api_at

DAYS = 21
# Drawing the report takes longer than all the rest, and nothing here looks at it.
TABLES = [asset for asset in ASSETS if asset.op.name != "escalation_report"]
DAILY = [dg.AssetKey(name) for name in ("raw_conversations", "raw_messages", "escalation_metrics")]
ALL = {f"{key.asset_key.path[-1]}.{key.name}" for check in CHECKS for key in check.check_keys}
RETENTION_DAYS = 3650
PERSONAL = ("full_name", "email", "phone_number")


@dataclass
class Outcome:
    """The results of one run's checks, by `table.check`."""

    result: dg.ExecuteInProcessResult

    @property
    def evaluations(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {
            f"{one.asset_key.path[-1]}.{one.check_name}": one
            for one in self.result.get_asset_check_evaluations()
        }

    @property
    def failed(self) -> dict[str, str]:
        return {
            name: one.severity.value for name, one in self.evaluations.items() if not one.passed
        }

    def metadata(self, check: str) -> dict[str, Any]:
        return {name: one.value for name, one in self.evaluations[check].metadata.items()}

    @property
    def materialized(self) -> set[str]:
        events = self.result.get_asset_materialization_events()
        return {event.asset_key.path[-1] for event in events if event.asset_key}

    def text(self) -> str:
        """Everything that the checks put into Dagster."""
        return json.dumps(
            [
                [one.description, {name: str(value) for name, value in one.metadata.items()}]
                for one in self.evaluations.values()
            ]
        )


@dataclass
class Built:
    """A database, Dagster's memory of how it came about, and the API behind it."""

    path: Path
    sandbox: Sandbox
    url: str
    instance: dg.DagsterInstance
    key: str = DEFAULT_KEY
    pii_key: str = ""

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; returns the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows

    def run(
        self,
        selection: dg.AssetSelection | None = None,
        *,
        days: tuple[datetime, datetime] | None = None,
    ) -> Outcome:
        """All checks, or what is selected, in one run of Dagster."""
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        tags = dict(zip(names, (f"{day:%Y-%m-%d}" for day in days or ()), strict=False))
        result = dg.materialize(
            [*TABLES, *CHECKS],
            selection=selection or dg.AssetSelection.checks(*CHECKS),
            instance=self.instance,
            resources={
                "zipchat": api_at(self.url, self.path.parent, api_key=self.key),
                "warehouse": WarehouseResource(
                    database=str(self.path), retention_days=RETENTION_DAYS, pii_key=self.pii_key
                ),
                "metric_settings": MetricSettings(),
            },
            tags=tags,
            run_config=QUIET,
            raise_on_error=False,
        )
        outcome = Outcome(result)
        self.assert_nothing_private_in(outcome)
        return outcome

    def assert_nothing_private_in(self, outcome: Outcome) -> None:
        """Checks tell Dagster nothing of customers, and not the key."""
        chat = self.sandbox.chat
        people = [c.lead for c in chat.conversations.values() if c.lead] + list(chat.users.values())
        private = {getattr(person, name, None) for person in people for name in PERSONAL}
        private |= {m.message for c in chat.conversations.values() for m in c.messages}
        shown = outcome.text()
        # A lead called Bo is in many a word.
        longer = [text for text in private if text and len(text) > 5]
        assert not [text for text in longer if json.dumps(text)[1:-1] in shown]
        assert self.key not in shown


@contextmanager
def new_instance(path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral(tempdir=str(path)) as instance:
        yield instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with new_instance(tmp_path) as instance:
        yield instance


@pytest.fixture(scope="package")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Three weeks of a small chat, materialized through Dagster with all checks passing."""
    chat = generate(seed=5, conversations=120, days=DAYS, now=NOW)
    for hours in (5, 9):  # so that something was active in the last day
        chat.add_conversation(at=NOW - timedelta(hours=hours))
    sandbox = Sandbox(chat=chat, limit=None, pagination="meta")
    path = tmp_path_factory.mktemp("checks")
    with serve(sandbox) as url, new_instance(path) as instance:
        # Not zipchat.duckdb: DuckDB would take the file's name for the schema's.
        built = Built(path / "chat.duckdb", sandbox, url, instance)
        outcome = built.run(
            dg.AssetSelection.assets(*TABLES), days=(NOW - timedelta(days=DAYS), NOW)
        )
        assert outcome.result.success
        assert outcome.failed == {}
        assert len(outcome.evaluations) == len(ALL)
        yield built


@pytest.fixture
def built(original: Built, tmp_path: Path) -> Built:
    """A copy of the database; the API and what Dagster remembers are shared."""
    path = tmp_path / original.path.name
    shutil.copy(original.path, path)
    original.sandbox.clear_faults()
    return replace(original, path=path)
