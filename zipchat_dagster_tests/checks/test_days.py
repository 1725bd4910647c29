"""The checks of days: what they make of the partitions that Dagster has materialized."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from zipchat_dagster.checks import history
from zipchat_dagster.checks.history import History, history_of
from zipchat_dagster.checks.recency import every_day_was_materialized, today_is_up_to_date
from zipchat_dagster.sandbox import Chat, Sandbox
from zipchat_dagster_tests.checks.conftest import DAILY, Built
from zipchat_dagster_tests.single import LANE


@dataclass
class Days:
    """An asset's days in Dagster, and what the checks make of them at some time."""

    instance: dg.DagsterInstance
    asset: dg.AssetKey
    monkeypatch: pytest.MonkeyPatch

    def materialized(self, day: str, *, at: str) -> None:
        with freeze_time(moment(at)):
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(self.asset, partition=day)
            )

    def history(self, *, at: str) -> History:
        self.turn_clock(at)
        return history_of(self.instance, self.asset, LANE.timezone)

    def turn_clock(self, at: str) -> None:
        self.monkeypatch.setattr(history, "current_time", lambda: moment(at))

    def up_to_date(self, *, at: str) -> str:
        """`PASS`, or how badly today is not."""
        verdict = today_is_up_to_date(self.history(at=at))
        return "PASS" if verdict.passed or not verdict.severity else verdict.severity.value


def moment(text: str) -> datetime:
    """A wall-clock time in the zone of the partitions."""
    local = datetime.fromisoformat(text)
    return local.replace(tzinfo=ZoneInfo(LANE.timezone))


@pytest.fixture
def days(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(instance, DAILY[0], monkeypatch)


@pytest.mark.parametrize("asset", DAILY, ids=lambda asset: asset.path[-1])
def test_a_backfill_of_an_old_day_does_not_make_today_up_to_date(
    tmp_path: Path, days: Days, asset: dg.AssetKey
) -> None:
    days.asset = asset
    key = dg.AssetCheckKey(asset, "today_is_up_to_date")
    sandbox = Sandbox(chat=Chat())  # is not called
    built = Built(tmp_path / "empty.duckdb", sandbox, "http://127.0.0.1:9", days.instance)

    def failed(at: str) -> list[str]:
        days.turn_clock(at)
        outcome = built.run(dg.AssetSelection.checks(key))
        assert len(outcome.evaluations) == 1
        return list(outcome.failed.values())

    days.materialized("2026-03-10", at="2026-03-10 06:05")
    assert failed("2026-03-10 09:05") == []
    assert failed("2026-03-10 09:06") == ["WARN"]

    for n in range(1, 10):
        days.materialized(f"2026-03-{n:02}", at="2026-03-10 12:00")
    assert failed("2026-03-10 12:01") == ["WARN"]

    days.materialized("2026-03-10", at="2026-03-10 12:02")
    assert failed("2026-03-10 12:03") == []


def test_until_three_yesterday_counts_as_today(days: Days) -> None:
    days.materialized("2026-03-09", at="2026-03-09 23:50")
    assert days.up_to_date(at="2026-03-10 00:01") == "PASS"
    assert days.up_to_date(at="2026-03-10 02:50") == "PASS"
    assert days.up_to_date(at="2026-03-10 02:51") == "WARN"
    days.materialized("2026-03-09", at="2026-03-10 02:55")
    assert days.up_to_date(at="2026-03-10 02:59") == "PASS"
    assert days.up_to_date(at="2026-03-10 03:00") == "WARN"


def test_not_being_materialized_for_26_hours_is_an_error(days: Days) -> None:
    assert days.up_to_date(at="2026-03-10 09:05") == "ERROR"
    days.materialized("2026-03-08", at="2026-03-10 09:00")
    assert days.up_to_date(at="2026-03-10 09:05") == "ERROR"
    days.materialized("2026-03-09", at="2026-03-09 09:00")
    assert days.up_to_date(at="2026-03-10 11:00") == "WARN"
    assert days.up_to_date(at="2026-03-10 11:01") == "ERROR"


def test_days_that_were_never_materialized_are_named_by_range(days: Days) -> None:
    assert every_day_was_materialized(days.history(at="2026-03-01 09:00")).passed
    for day in (1, 2, 5, 6, 9):
        days.materialized(f"2026-03-{day:02}", at="2026-03-10 08:00")
    days.materialized("2026-03-11", at="2026-03-11 08:00")
    verdict = every_day_was_materialized(days.history(at="2026-03-11 09:00"))
    assert not verdict.passed
    assert verdict.metadata["violations"] == 5
    missing = ["2026-03-03 to 2026-03-04", "2026-03-07 to 2026-03-08", "2026-03-10"]
    assert verdict.metadata["missing"].value == missing
    assert verdict.description.endswith(f": 5 ({', '.join(missing)}).")
    for day in (3, 4, 7, 8, 10):
        days.materialized(f"2026-03-{day:02}", at="2026-03-11 08:30")
    # Today may still come; whether it does is another check's business.
    assert every_day_was_materialized(days.history(at="2026-03-12 01:00")).passed
    assert not every_day_was_materialized(days.history(at="2026-03-13 01:00")).passed
