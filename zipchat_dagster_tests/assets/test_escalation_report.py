"""`escalation_report`: where it is written, for which days, and that it agrees with the tables."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import expect

from zipchat_dagster.assets.escalation_report import escalation_report, replace_file
from zipchat_dagster.resources import (
    MetricSettings,
    SandboxResource,
    WarehouseResource,
    ZipchatResource,
)
from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster_tests.browser import chromium
from zipchat_dagster_tests.conftest import NOW, Project, derive_all
from zipchat_dagster_tests.single import LANE, QUIET, metadata_of

RULES = Rules(response_target_seconds=2400)
SANDBOX = SandboxResource(chat_id="1", start_date=f"{NOW:%Y-%m-%d}")


def day(days_ago: int) -> str:
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%d}"


@pytest.fixture
def synced(project: Project) -> Project:
    """Everything derived; metrics of the three weeks before today."""
    project.sync()
    days = [day(n) for n in reversed(range(1, 22))]
    derive_all(project.warehouse, days=days, rules=RULES)
    return project


def metadata(project: Project, zipchat: ZipchatResource, **config: Any) -> dict[str, Any]:
    result = dg.materialize(
        [escalation_report(LANE)],
        resources={
            "zipchat": zipchat,
            "warehouse": WarehouseResource(database=str(project.warehouse.path)),
            "metric_settings": MetricSettings(
                response_target_seconds=RULES.response_target_seconds
            ),
        },
        run_config={"ops": {"escalation_report": {"config": config}}, **QUIET},
    )
    return metadata_of(result, "escalation_report")


def data(path: str) -> dict[str, Any]:
    """What the page computes from."""
    html = Path(path).read_text("utf-8")
    (text,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_report_is_named_after_its_database_and_has_the_days_with_metrics(
    synced: Project,
) -> None:
    real = ZipchatResource(
        api_key="zc-1", chat_id="1", base_url="https://app.example.com", budget_database=""
    )
    found = metadata(synced, real)
    path = synced.warehouse.path
    assert found["report"] == str(path.with_name(f"{path.stem}_report.html"))
    assert (found["first_day"], found["last_day"]) == (day(21), day(1))
    page = data(found["report"])
    assert (page["first"], page["last"]) == (day(21), day(1))
    assert (page["source"], page["target"], page["quietHours"]) == ("", 2400, 72)
    report = Path(found["report"])
    assert report.stat().st_mode & 0o777 == 0o600
    report.chmod(0o644)  # an operator's choice
    found = metadata(synced, SANDBOX, first=day(23), last=day(3))
    assert report.stat().st_mode & 0o777 == 0o644
    page = data(found["report"])
    assert [row[2] for row in page["tables"]["days"]["rows"]] == [False] * 2 + [True] * 19
    assert page["source"] == "the sandbox"


@pytest.mark.browser
def test_the_report_agrees_with_the_tables(synced: Project) -> None:
    found = metadata(synced, SANDBOX)
    ((escalations, unanswered, resolved),) = synced.rows(
        "select sum(escalations), sum(unanswered), sum(resolved) / sum(escalations)"
        " from zipchat.escalation_metrics where dimension = 'all'"
    )
    ((started, involved, automated, pending),) = synced.rows(
        "select sum(conversations_started), sum(ai_involved) / sum(conversations_started),"
        " sum(automated) / sum(conversations_started - automation_pending), sum(automation_pending)"
        " from zipchat.ai_metrics where channel = 'all' and period_start between $first and $last",
        first=day(21),
        last=day(1),
    )
    waiting = synced.rows(
        "select share_url from zipchat.escalations_waiting where waiting_for <> 'resolution'"
    )
    hours = synced.rows(
        "select weekday, hour, sum(escalations)::bigint from zipchat.activity_by_hour"
        " where dimension = 'all' group by all having sum(escalations) > 0 order by all"
    )
    assert escalations > 5
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{Path(found['report']).as_uri()}#days=21")
        expect(page.locator("#banner")).to_contain_text("These records come from the sandbox.")
        shown = {
            name: float(page.locator(f"#tile-{name} .value").get_attribute("data-value") or "nan")
            for name in (
                *("escalations", "unanswered", "resolved"),
                *("started", "involved", "automated", "pending"),
            )
        }
        assert shown == pytest.approx(
            {
                "escalations": float(escalations),
                "unanswered": float(unanswered),
                "resolved": resolved,
                "started": float(started),
                "involved": involved,
                "automated": automated,
                "pending": float(pending),
            }
        )
        for button in page.locator("#waiting .more").all():
            button.click()
        links = page.locator("#waiting a").evaluate_all("all => all.map(a => a.href)")
        assert sorted(links) == sorted(url for (url,) in waiting)
        page.locator("#hours summary").click()
        counts = page.locator("#hours td:nth-child(3)").all_text_contents()
        cells = {index: int(count) for index, count in enumerate(counts) if count != "0"}
        assert cells == {(weekday - 1) * 24 + hour: count for weekday, hour, count in hours}


def test_runs_that_write_it_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    texts = [str(n) * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda text: replace_file(path, text), texts * 10))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
