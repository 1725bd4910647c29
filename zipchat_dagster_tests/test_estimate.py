"""What an estimate says against what the backfill then costs, and what the estimate itself costs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.estimate import MOST_REQUESTS, Estimate, estimate
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, midnight
from zipchat_dagster_tests.test_definitions import environment

START = midnight(NOW - timedelta(days=40))
TOMORROW = midnight(NOW) + timedelta(days=1)
CHECK = 1  # request of a run that `Project.sync` does not make


def project_of(
    path: Path, *, conversations: int = 400, now: datetime = NOW, **options: Any
) -> Project:
    chat = generate(seed=4, conversations=conversations, days=40, now=now)
    project = Project(
        Sandbox(chat=chat, **{"limit": None, "pagination": "meta", **options}),
        Warehouse(path / "zipchat.duckdb"),
    )
    project.clock.now = now.timestamp()
    return project


def ask(
    project: Project, *, since: datetime = START, until: datetime = TOMORROW, reserve: float = 0.25
) -> Estimate:
    """An estimate, with the requests that arrived counted at the sandbox."""
    before = project.sandbox.stats()["requests"]
    with project.client() as client:
        found = estimate(client, project.warehouse, since=since, until=until, reserve=reserve)
    spent = project.sandbox.stats()["requests"] - before
    assert 1 <= spent == found.requests_spent <= MOST_REQUESTS
    return found


def backfill(project: Project, *, since: datetime = START, until: datetime = TOMORROW) -> int:
    """What it really costs, in requests; many in flight, so that they are stored in few batches."""
    requests, _ = project.sync(since=since, until=until, concurrency=100)
    return requests + CHECK


def assert_true(found: Estimate, requests: int, *, within: float = 0.03) -> None:
    """The requests lie in the range, give or take `within` of them and two."""
    margin = within * requests + 2
    assert found.requests.high is not None
    assert found.requests.low - margin <= requests <= found.requests.high + margin


def test_with_totals_a_backfill_to_today_costs_what_was_said(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    found = ask(project)
    assert found.requests_spent == 1
    assert found.requests.low == found.requests.high
    requests = backfill(project)
    assert_true(found, requests)


@pytest.mark.parametrize(("first", "last"), [(30, 10), (30, 30), (12, 11)])
def test_with_totals_a_past_range_lies_within_what_was_said(
    tmp_path: Path, first: int, last: int
) -> None:
    project = project_of(tmp_path, conversations=600)
    since, until = START + timedelta(days=40 - first), START + timedelta(days=41 - last)
    found = ask(project, since=since, until=until)
    assert found.requests.high is not None
    # What is not known is one day's conversations, of 15 a day.
    assert found.requests.high - found.requests.low < 45
    requests = backfill(project, since=since, until=until)
    assert_true(found, requests)


@pytest.mark.parametrize("order", ["desc", "asc", "id"])
@pytest.mark.parametrize(
    ("conversations", "hour"), [(250, 12), *((3000, hour) for hour in (0, 4, 10, 18, 23))]
)
def test_without_totals_the_truth_lies_in_a_range(
    tmp_path: Path, order: str, conversations: int, hour: int
) -> None:
    now = midnight(NOW) - timedelta(hours=24 - hour)
    project = project_of(
        tmp_path, conversations=conversations, now=now, order=order, pagination="none"
    )
    found = ask(project, since=START - timedelta(days=1))
    truth = len(project.sandbox.chat.conversations)
    assert found.to_list.low <= truth
    assert found.to_list.high is None or truth <= found.to_list.high
    assert found.to_read == found.to_list
    if order != "id":  # nothing tells how far a page of that order reaches
        assert found.to_list.high is not None
        # The hours of the day differ in how busy they are: one page says little about the rest.
        assert found.to_list.high - found.to_list.low <= 0.15 * truth


def test_without_totals_a_past_range_is_no_false_exact_figure(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=500, pagination="none")
    since, until = START + timedelta(days=10), START + timedelta(days=20)
    found = ask(project, since=since, until=until)
    assert found.requests.low < (found.requests.high or found.requests.low + 1)
    requests = backfill(project, since=since, until=until)
    assert_true(found, requests)


@pytest.mark.parametrize("pagination", ["none", "meta", "pagination"])
def test_what_one_page_shows_is_exact(tmp_path: Path, pagination: str) -> None:
    project = project_of(tmp_path, conversations=60, pagination=pagination)
    since, until = START, START + timedelta(days=30)
    found = ask(project, since=since, until=until)
    assert found.requests_spent == 1
    requests = backfill(project, since=since, until=until)
    assert_true(found, requests)
    assert found.to_read.low == len(project.sandbox.stats()["shows"])


def test_an_empty_chat_costs_a_list_of_users_one_of_conversations_and_a_check(
    tmp_path: Path,
) -> None:
    found = ask(project_of(tmp_path, conversations=0))
    assert (found.requests.low, found.requests.high) == (3, 3)
    assert "3 requests, 60 s at most" in str(found)


def test_nothing_left_to_do_costs_three_requests(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    backfill(project)
    found = ask(project)
    requests = backfill(project)
    assert_true(found, requests, within=0)
    assert found.complete == len(project.sandbox.chat.conversations)


def test_what_is_stored_counts_as_paid_for(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=500)
    backfill(project, since=START + timedelta(days=25))
    for since, until in (
        (START, TOMORROW),  # goes on further back
        (START + timedelta(days=5), START + timedelta(days=15)),  # and ends before what is stored
        (START + timedelta(days=20), START + timedelta(days=30)),  # or in the middle of it
    ):
        found = ask(project, since=since, until=until)
        # A copy, so that each range meets the same stored tables.
        copy = tmp_path / f"{since:%m%d}-{until:%m%d}.duckdb"
        project.warehouse.copy_to(copy)
        copy.chmod(0o600)
        other = Project(project.sandbox, Warehouse(copy))
        requests = backfill(other, since=since, until=until)
        assert_true(found, requests)


def test_what_changed_since_the_last_run_is_counted(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=400)
    backfill(project)
    project.clock.now += 3600
    project.sandbox.clock = project.clock.time
    project.sandbox.mutate_deletions = False
    project.sandbox.change(300)
    until = TOMORROW + timedelta(days=1)  # the hour may have led into the next day
    found = ask(project, until=until)
    assert found.to_read.low > 100
    requests = backfill(project, until=until)
    assert_true(found, requests)


def test_long_conversations_are_foreseen_by_those_that_are_stored(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=240)
    for conversation in list(project.sandbox.chat.conversations.values())[::4]:
        at = conversation.last_message_at
        for _ in range(450):
            project.sandbox.chat.add_message(conversation.id, at=at)
    backfill(project, since=START + timedelta(days=20))
    found = ask(project)
    assert 1.3 < found.pages_per_conversation < 1.8
    requests = backfill(project)
    assert_true(found, requests, within=0.1)


def test_the_time_is_that_of_the_limit_with_and_without_live_runs(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=250, limit=60, window=60)
    project.sandbox.clock = project.clock.time
    found = ask(project)
    assert (found.limit, found.held_back) == (60, 15)
    assert found.slowest_seconds is not None
    began_at = project.clock.now
    project.sync(since=START, until=TOMORROW, reserve=0.25)
    assert found.fastest_seconds - 60 <= project.clock.now - began_at <= found.slowest_seconds
    assert found.slowest_seconds <= 1.5 * found.fastest_seconds


# As make estimate and estimate_job say it


def run(home: Path, url: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    start = {"ZIPCHAT_START_DATE": f"{START:%Y-%m-%d}"}
    return subprocess.run(
        [sys.executable, "-m", "zipchat_dagster.estimate", *arguments],
        env=environment(home, url, **start | changes) | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_estimate_prints_a_few_lines_and_stores_nothing(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    with serve(project.sandbox) as url:
        answer = run(tmp_path, url)
    assert answer.returncode == 0, answer.stderr
    first, *rest = answer.stdout.splitlines()
    assert first.startswith(f"{START:%Y-%m-%d} to {NOW:%Y-%m-%d}: about 4")
    assert len(rest) == 5
    assert project.rows("select count(*) from zipchat.raw_conversations") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "changes", "sentence"),
    [
        (["--first", "soon"], {}, "first: “soon” is no date. Write one such as 2026-01-31."),
        (["--last", "2026-02-30"], {}, "last: “2026-02-30” is no date."),
        (["--first", "2001-01-01"], {}, "There are no partitions from 2001-01-01 to"),
        (["--last", "2999-01-01"], {}, "to 2999-01-01: a backfill goes from"),
        ([], {"ZIPCHAT_TIMEZONE": "Berlin"}, "ZIPCHAT_TIMEZONE: “Berlin” is no time zone."),
        ([], {"ZIPCHAT_API_KEY": ""}, "ZIPCHAT_API_KEY is not set."),
        ([], {"ZIPCHAT_API_KEY": "zc-wrong"}, "the API answered 401"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, arguments: list[str], changes: dict[str, str], sentence: str
) -> None:
    with serve(project_of(tmp_path, conversations=0).sandbox) as url:
        answer = run(tmp_path, url, *arguments, **changes)
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not answer.stdout


def test_estimate_job_puts_the_figures_into_its_metadata(tmp_path: Path) -> None:
    from zipchat_dagster.jobs import estimate_job
    from zipchat_dagster.resources import WarehouseResource, ZipchatResource

    project = project_of(tmp_path)
    with serve(project.sandbox) as url:
        job = dg.Definitions(
            jobs=[estimate_job],
            resources={
                "zipchat": ZipchatResource(
                    api_key=project.sandbox.key,
                    chat_id="1",
                    base_url=url,
                    budget_database=str(tmp_path / "budget.sqlite"),
                ),
                "warehouse": WarehouseResource(database=str(project.warehouse.path)),
            },
        ).resolve_job_def("estimate_job")
        day = f"{NOW:%Y-%m-%d}"
        config = {"ops": {"estimate": {"config": {"first": day, "last": day}}}}
        result = job.execute_in_process(run_config=config)
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = {name: value.value for name, value in event.step_output_data.metadata.items()}
    assert metadata["requests_at_least"] == metadata["requests_at_most"]
    assert metadata["requests"] == 1
    assert f"{day} to {day}: about" in str(metadata["estimate"])
    # A run of today may spend the whole window.
    assert "left to live runs" not in str(metadata["estimate"])
