"""Estimates against what the backfill then costs, and the cost of the estimate itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.client import PageLoopError
from zipchat_dagster.estimate import Estimate, Range, estimate
from zipchat_dagster.jobs import estimate_job
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.sandbox import Request, Sandbox, generate, serve
from zipchat_dagster.sandbox.chat import WITHOUT_DELETIONS
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, midnight, thorough
from zipchat_dagster_tests.single import LANE, api_at, metadata_of
from zipchat_dagster_tests.test_definitions import environment

# How close an estimate comes depends on the chat, and that on the time, which is fixed here.
THEN = datetime(2026, 6, 10, 15, 20, tzinfo=UTC)
START = midnight(THEN - timedelta(days=40))
TOMORROW = midnight(THEN) + timedelta(days=1)
CHECK = 1  # request of a run that `Project.sync` does not make
COUNTS = 4  # lengths that an estimate asks for at most
MOST_REQUESTS = 12  # for one length without totals, of up to 12,000 conversations


def project_of(
    path: Path, *, conversations: int = 400, now: datetime = THEN, **options: Any
) -> Project:
    chat = generate(seed=4, conversations=conversations, days=40, now=now)
    project = Project(
        Sandbox(chat=chat, **{"limit": None, "pagination": "meta", **options}),
        Warehouse(path / "warehouse.duckdb"),
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
    assert spent == found.requests_spent <= COUNTS * MOST_REQUESTS
    return found


def backfill(project: Project, *, since: datetime = START, until: datetime = TOMORROW) -> int:
    """The requests that it really takes. High concurrency makes for few, large batches."""
    requests, _ = project.sync(since=since, until=until, concurrency=100)
    return requests + CHECK


def assert_true(found: Estimate, requests: int, *, within: float = 0.03) -> None:
    """The requests lie in the range, give or take `within` of them and two."""
    margin = within * requests + 2
    assert found.requests.high is not None
    assert found.requests.low - margin <= requests <= found.requests.high + margin


def test_with_totals_the_estimate_of_a_backfill_to_today_is_exact(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    found = ask(project)
    assert found.requests_spent == 1
    assert found.requests.low == found.requests.high
    requests = backfill(project)
    assert_true(found, requests)


@pytest.mark.parametrize(("first", "last"), [(30, 10), (30, 30), (12, 11)])
def test_with_totals_a_past_range_costs_what_was_estimated(
    tmp_path: Path, first: int, last: int
) -> None:
    project = project_of(tmp_path, conversations=600)
    since, until = START + timedelta(days=40 - first), START + timedelta(days=41 - last)
    found = ask(project, since=since, until=until)
    assert found.requests.high is not None
    # Unknown is how many of the next day's conversations, 15 a day, began in the range.
    assert found.requests.high - found.requests.low < 45
    requests = backfill(project, since=since, until=until)
    assert_true(found, requests)


@pytest.mark.parametrize("conversations", [0, 1, 99, 100, 101, 200, 3000])
@pytest.mark.parametrize("order", ["desc", "id"])
def test_without_totals_the_length_of_the_list_is_found(
    tmp_path: Path, order: str, conversations: int
) -> None:
    project = project_of(tmp_path, conversations=conversations, order=order, pagination="none")
    found = ask(project, since=START - timedelta(days=1))
    truth = len(project.sandbox.chat.conversations)
    assert (found.to_list, found.to_read) == (truth, Range(truth, truth))
    assert found.requests_spent <= MOST_REQUESTS


def test_a_server_with_smaller_pages_is_counted_right(tmp_path: Path) -> None:
    def cap(sandbox: Sandbox, request: Request) -> None:
        request.query["per_page"] = "50"

    project = project_of(tmp_path, conversations=430, pagination="none", before_request=cap)
    found = ask(project)
    truth = len(project.sandbox.chat.conversations)
    assert found.to_list == truth


def test_a_server_that_shows_a_page_again_in_another_order_is_an_error_too(tmp_path: Path) -> None:
    def again(sandbox: Sandbox, request: Request) -> None:
        request.query["page"] = "1"
        sandbox.clock_offset += 1
        moved = list(sandbox.chat.conversations)[sandbox.stats()["requests"]]
        sandbox.chat.add_message(moved, at=sandbox.now())

    project = project_of(tmp_path, pagination="none", before_request=again)
    with pytest.raises(PageLoopError, match="the list has no end"):
        ask(project)
    assert project.sandbox.stats()["requests"] < 20


@pytest.mark.parametrize("most", [1, 4])
def test_a_server_that_shows_a_page_again_is_an_error(tmp_path: Path, most: int) -> None:
    def again(sandbox: Sandbox, request: Request) -> None:
        request.query["page"] = str(min(most, int(request.query.get("page", 1))))

    project = project_of(tmp_path, pagination="none", before_request=again)
    with pytest.raises(PageLoopError, match="does not advance"):
        ask(project)


def test_a_server_that_shows_a_shorter_last_page_again_is_counted_right(tmp_path: Path) -> None:
    def again(sandbox: Sandbox, request: Request) -> None:
        request.query["page"] = str(min(5, int(request.query.get("page", 1))))

    project = project_of(tmp_path, conversations=430, pagination="none", before_request=again)
    assert ask(project, since=START - timedelta(days=1)).to_list == 430


def test_without_totals_a_past_range_costs_what_was_estimated(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=500, pagination="none")
    since, until = START + timedelta(days=10), START + timedelta(days=20)
    found = ask(project, since=since, until=until)
    assert found.requests.low < (found.requests.high or found.requests.low + 1)
    requests = backfill(project, since=since, until=until)
    assert_true(found, requests)


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


def test_stored_conversations_are_free(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=500)
    # Everything active since then is listed, and the messages of a week are read.
    backfill(project, since=START + timedelta(days=25), until=START + timedelta(days=32))
    for since, until in (
        (START, TOMORROW),
        (START + timedelta(days=5), START + timedelta(days=15)),
        (START + timedelta(days=20), START + timedelta(days=30)),
        (START + timedelta(days=28), TOMORROW),
    ):
        found = ask(project, since=since, until=until)
        assert found.to_read.high - found.to_read.low < 30
        # A copy, so that each range starts from the same tables.
        copy = tmp_path / f"{since:%m%d}-{until:%m%d}.duckdb"
        project.warehouse.publish(copy)
        copy.chmod(0o600)
        other = Project(project.sandbox, Warehouse(copy))
        requests = backfill(other, since=since, until=until)
        assert_true(found, requests)


@pytest.mark.parametrize("first", [0, 20])
def test_new_activity_and_unread_conversations_are_counted(tmp_path: Path, first: int) -> None:
    project = project_of(tmp_path, conversations=300)
    backfill(project, since=START + timedelta(days=first), until=START + timedelta(days=32))
    project.clock.now += 3600
    project.sandbox.mutate_kinds = WITHOUT_DELETIONS
    project.sandbox.change(100)
    until = TOMORROW + timedelta(days=1)  # the hour may have led into the next day
    found = ask(project, until=until)
    assert found.to_read.low > 50
    requests = backfill(project, until=until)
    assert_true(found, requests)


def test_stored_conversations_that_went_on_later_are_in_the_upper_bound(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=60)
    backfill(project)
    project.clock.now += 3600
    project.sandbox.mutate_kinds = WITHOUT_DELETIONS
    project.sandbox.change(40)
    since, until = START + timedelta(days=5), START + timedelta(days=35)
    found = ask(project, since=since, until=until)
    requests = backfill(project, since=since, until=until)
    assert requests > 10
    assert_true(found, requests, within=0)


def test_long_conversations_are_predicted_from_the_stored_ones(tmp_path: Path) -> None:
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


def test_the_time_follows_from_the_rate_limit_with_and_without_the_reserve(tmp_path: Path) -> None:
    project = project_of(tmp_path, conversations=130, limit=60, window=60)
    found = ask(project)
    assert (found.limit, found.held_back) == (60, 15)
    assert found.slowest_seconds is not None
    began_at = project.clock.now
    project.sync(since=START, until=TOMORROW, reserve=0.25)
    assert found.fastest_seconds - 60 <= project.clock.now - began_at <= found.slowest_seconds
    assert found.slowest_seconds <= 1.5 * found.fastest_seconds


# estimate_job


def run_job(project: Project, **days: str) -> dict[str, Any]:
    """The metadata of a run of `estimate_job`."""
    with serve(project.sandbox) as url:
        job = dg.Definitions(
            jobs=[estimate_job(LANE)],
            resources={
                "zipchat": api_at(url, project.warehouse.path.parent),
                "warehouse": WarehouseResource(database=str(project.warehouse.path)),
            },
        ).resolve_job_def("estimate_job")
        result = job.execute_in_process(run_config={"ops": {"estimate": {"config": days}}})
    return metadata_of(result)


def test_estimate_job_puts_the_figures_into_its_metadata(tmp_path: Path) -> None:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    metadata = run_job(project_of(tmp_path, now=NOW), first=day, last=day)
    assert metadata["requests_at_least"] == metadata["requests_at_most"]
    assert metadata["requests_spent"] == 1
    assert f"{day} to {day}: about" in metadata["estimate"]
    # A run of today may spend the whole window.
    assert "left to live runs" not in metadata["estimate"]


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ({"first": "soon"}, "first: “soon” is not a date such as 2026-01-31."),
        ({"last": "2026-02-30"}, "last: “2026-02-30” is not a date."),
        ({"first": "2001-01-01"}, "There are no partitions from 2001-01-01 to"),
        ({"last": "2999-01-01"}, "to 2999-01-01. A backfill can only include days from"),
    ],
)
def test_days_without_a_partition_are_refused(
    tmp_path: Path, days: dict[str, str], sentence: str
) -> None:
    project = project_of(tmp_path, conversations=0)
    with pytest.raises(dg.Failure, match=sentence):
        run_job(project, **days)
    assert project.sandbox.stats()["requests"] == 0


# make estimate


def run(home: Path, url: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    start = {"ZIPCHAT_START_DATE": f"{NOW - timedelta(days=40):%Y-%m-%d}"}
    return subprocess.run(
        [sys.executable, "-m", "zipchat_dagster.estimate_cli", *arguments],
        env=environment(home, url, **start | changes) | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_estimate_prints_a_few_lines_and_stores_nothing(tmp_path: Path) -> None:
    project = project_of(tmp_path, now=NOW)
    with serve(project.sandbox) as url:
        answer = run(tmp_path, url, ZIPCHAT_DATABASE=str(project.warehouse.path))
    assert answer.returncode == 0, answer.stderr
    first, *rest = answer.stdout.splitlines()
    days = rf"{NOW - timedelta(days=40):%Y-%m-%d} to \d{{4}}-\d\d-\d\d"
    assert re.match(f"{days}: about 4", first)
    assert len(rest) == 5
    assert project.rows("select count(*) from zipchat.raw_conversations") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "changes", "sentence"),
    [
        pytest.param(  # as definitions load
            [], {"ZIPCHAT_TIMEZONE": "Berlin"}, "ZIPCHAT_TIMEZONE: “Berlin”", marks=thorough
        ),
        pytest.param(["--chat", "shop"], {}, "--chat: ZIPCHAT_CHATS is not set.", marks=thorough),
        pytest.param(  # as the job runs
            [], {"ZIPCHAT_API_KEY": "zc-wrong"}, "the API answered 401", marks=thorough
        ),
    ],
)
def test_make_estimate_prints_one_sentence_when_something_is_wrong(
    tmp_path: Path, arguments: list[str], changes: dict[str, str], sentence: str
) -> None:
    with serve(project_of(tmp_path, conversations=0).sandbox) as url:
        answer = run(tmp_path, url, *arguments, **changes)
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not answer.stdout
