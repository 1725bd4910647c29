"""`escalation_report`: where it is written, for which days, and what it says of its source."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.assets.escalation_report import escalation_report
from zipchat_dagster.resources import (
    MetricSettings,
    SandboxResource,
    WarehouseResource,
    ZipchatResource,
)
from zipchat_dagster_tests.conftest import NOW, Project

BANNER = "Not live data from Zipchat"


@pytest.fixture
def synced(project: Project) -> Project:
    """Metrics of yesterday and the day before."""
    from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_metrics

    project.sync()
    rebuild_facts(project.warehouse, now=NOW, rules=Rules())
    days = [f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in (2, 1)]
    rebuild_metrics(project.warehouse, chat_id=1, days=days, now=NOW, rules=Rules())
    return project


def metadata(project: Project, zipchat: ZipchatResource, **config: Any) -> dict[str, Any]:
    result = dg.materialize(
        [escalation_report],
        resources={
            "zipchat": zipchat,
            "warehouse": WarehouseResource(database=str(project.warehouse.path)),
            "metric_settings": MetricSettings(response_target_seconds=2400),
        },
        run_config={
            "ops": {"escalation_report": {"config": config}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )
    (event,) = result.asset_materializations_for_node("escalation_report")
    return {name: one.value for name, one in event.metadata.items()}


def test_it_is_named_after_its_database_and_has_the_days_with_metrics(synced: Project) -> None:
    real = ZipchatResource(
        api_key="zc-1", chat_id="1", base_url="https://app.example.com", budget_database=""
    )
    found = metadata(synced, real)
    path = synced.warehouse.path
    assert found["report"] == str(path.with_name(f"{path.stem}_report.html"))
    html = Path(found["report"]).read_text("utf-8")
    assert BANNER not in html
    assert "Response target: 40\u00a0min" in html
    assert (found["first"], found["last"]) == tuple(
        f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in (2, 1)
    )
    found = metadata(synced, real, first=f"{NOW - timedelta(days=4):%Y-%m-%d}")
    assert found["first"] == f"{NOW - timedelta(days=4):%Y-%m-%d}"
    assert "2 of 4 days are not in escalation_metrics" in Path(found["report"]).read_text("utf-8")


def test_the_sandboxs_report_has_a_banner(synced: Project) -> None:
    sandbox = SandboxResource(chat_id="1", start_date=f"{NOW:%Y-%m-%d}")
    html = Path(metadata(synced, sandbox)["report"]).read_text("utf-8")
    assert f"{BANNER}.</b> These records come from the sandbox." in html
