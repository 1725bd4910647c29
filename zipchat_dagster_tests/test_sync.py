"""From the sandbox into the tables: complete, once, and for as few requests as possible."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.client import ListingUnsettledError, UnauthorizedError, gather
from zipchat_dagster.sandbox import Fault, Request, Sandbox, generate
from zipchat_dagster.sandbox.chat import WITHOUT_DELETIONS
from zipchat_dagster.sync import MOST_UNLISTED, ApiDownError
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import NOW, Project, effort, midnight, thorough


def new_project(
    folder: Path, conversations: int, *, most: int = 450, days: int = 30, **options: Any
) -> Project:
    """A chat whose conversations have at most so many messages, and empty tables."""
    chat = generate(seed=2, conversations=conversations, days=days, now=NOW, max_messages=most)
    return Project(Sandbox(chat=chat, limit=None, **options), Warehouse(folder / "tables.duckdb"))


def count(project: Project, rows: str, **parameters: Any) -> int:
    """The number of rows of a table that fulfil a condition."""
    ((found,),) = project.rows(f"select count(*) from zipchat.{rows}", **parameters)
    return int(found)


@pytest.mark.parametrize(
    ("order", "pagination"), [("desc", "none"), ("asc", "meta"), ("id", "pagination")]
)
def test_tables_agree_row_for_row_whatever_the_api_is_like(
    tmp_path: Path, order: Any, pagination: Any
) -> None:
    project = new_project(tmp_path, 110, order=order, pagination=pagination, shuffle_ties=True)
    project.sync()
    project.assert_tables_agree()


def test_a_first_sync_costs_at_most_two_percent_more_than_the_minimum(tmp_path: Path) -> None:
    project = new_project(tmp_path, 300)
    requests, _ = project.sync()
    messages = project.sandbox.truth()["messages"].values()
    shows = sum(max(1, math.ceil(len(found) / 200)) for found in messages)
    minimum = math.ceil(len(messages) / 100) + shows + 1
    assert requests <= 1.02 * minimum


def test_when_nothing_changed_a_run_costs_at_most_three_requests(project: Project) -> None:
    project.sync()
    requests, result = project.sync()
    assert requests <= 3
    assert result.conversations == 0
    project.assert_tables_agree()


def test_k_changed_conversations_cost_at_most_k_and_three_requests(project: Project) -> None:
    project.sync()
    at = project.sandbox.now()
    changed = list(project.sandbox.chat.conversations)[:7]
    for conversation_id in changed:
        project.sandbox.chat.add_message(conversation_id, at=at)
    project.sandbox.chat.add_conversation(at=at)
    project.clock.sleep(60)
    requests, result = project.sync()
    assert requests <= len(changed) + 1 + 3
    assert result.conversations == len(changed) + 1
    project.assert_tables_agree()


def test_an_old_day_after_a_full_backfill_is_nearly_free(project: Project) -> None:
    project.sync()
    day = midnight(NOW - timedelta(days=9))
    requests, _ = project.sync(since=day, until=day + timedelta(days=1))
    assert requests <= 3


def test_syncing_one_old_day_alone_stores_that_day_completely(project: Project) -> None:
    day = midnight(NOW - timedelta(days=9))
    project.sync(since=day, until=day + timedelta(days=1))
    expected = sorted(
        message["id"]
        for found in project.sandbox.truth()["messages"].values()
        for message in found
        if message["created_at"][:10] == f"{day:%Y-%m-%d}"
    )
    stored = project.rows(
        "select message_id from zipchat.raw_messages where partition_date = $day order by 1",
        day=day.date(),
    )
    assert [row[0] for row in stored] == expected


@thorough
def test_days_synced_one_by_one_give_the_same_as_one_range(
    tmp_path: Path, project: Project
) -> None:
    for n in range(22, -1, -1):
        day = midnight(NOW - timedelta(days=n))
        project.sync(since=day, until=day + timedelta(days=1))
    project.assert_tables_agree()


def test_refresh_reads_everything_again(project: Project) -> None:
    project.sync()
    _, result = project.sync(refresh=True)
    assert result.conversations == len(project.sandbox.chat.conversations)
    project.assert_tables_agree()


def test_a_message_in_a_second_that_was_already_read_is_not_lost(project: Project) -> None:
    conversation_id = next(iter(project.sandbox.chat.conversations))
    at = project.sandbox.now()
    project.sandbox.chat.add_message(conversation_id, at=at)
    project.sync()
    project.sandbox.chat.add_message(conversation_id, at=at, message="the same second")
    project.clock.sleep(60)
    project.sync()
    project.assert_tables_agree()


def test_an_empty_chat_has_all_tables_and_no_error(tmp_path: Path) -> None:
    project = new_project(tmp_path, 0)
    requests, result = project.sync()
    assert (requests, result.conversations) == (2, 0)
    assert count(project, "raw_conversations") == count(project, "escalation_metrics") == 0


SKIPPED = (
    "select conversation_id, covered_through is null, failure from zipchat.message_coverage"
    " where failed_at is not null order by 1"
)


def test_conversations_that_fail_are_recorded_and_stop_nothing(project: Project) -> None:
    bad, worse, *good = project.sandbox.chat.conversations
    project.sandbox.add_fault(Fault("500", conversation_id=bad, times=None))
    project.sandbox.add_fault(Fault("not_json", conversation_id=worse, times=None))
    _, result = project.sync()
    assert set(result.failures) == {bad, worse}
    assert result.conversations == len(good)
    rows = project.rows(SKIPPED)
    assert [row[:2] for row in rows] == [(bad, True), (worse, True)]
    assert "the API answered 500" in rows[0][2]
    assert "the answer is not JSON" in rows[1][2]
    assert count(project, "message_coverage where covered_through is not null") == len(good)

    project.sandbox.clear_faults()
    requests, result = project.sync()
    assert result.conversations == 2
    assert requests <= 2 + 3
    project.assert_tables_agree()


def test_many_broken_conversations_in_a_row_do_not_count_as_an_api_that_is_down(
    project: Project,
) -> None:
    first, *others = project.sandbox.chat.conversations
    project.sync()
    for conversation_id in others:
        project.sandbox.add_fault(Fault("500", conversation_id=conversation_id, times=None))
    _, result = project.sync(refresh=True, concurrency=1)
    assert set(result.failures) == set(others)
    assert result.conversations == 1
    assert first not in result.failures


def test_a_conversation_that_failed_is_retried_by_a_run_of_today(project: Project) -> None:
    old = min(project.sandbox.chat.conversations.values(), key=lambda found: found.last_message_at)
    today = midnight(NOW)
    assert old.last_message_at < today
    project.sandbox.add_fault(Fault("500", conversation_id=old.id, times=None))
    project.sync()
    project.sandbox.clear_faults()
    _, result = project.sync(since=today)
    assert result.conversations == 0
    _, result = project.sync(since=today, most_retried=1)
    assert result.conversations == 1
    assert project.rows(SKIPPED) == []
    project.assert_tables_agree()


@pytest.mark.parametrize("is_covered_today", [True, False])
@pytest.mark.parametrize("has_news", [True, False])
def test_a_run_of_today_makes_up_for_all_of_a_backfill_that_failed(
    project: Project, *, is_covered_today: bool, has_news: bool
) -> None:
    today = midnight(NOW)
    ids = {
        found.id
        for found in project.sandbox.chat.conversations.values()
        if found.created_at < today <= found.last_message_at
    }
    assert ids
    if is_covered_today:
        project.sync(since=today)
    for conversation_id in ids:
        project.sandbox.add_fault(Fault("500", conversation_id=conversation_id, times=None))
    _, result = project.sync()
    assert set(result.failures) == ids
    project.sandbox.clear_faults()
    if has_news:
        project.clock.sleep(60)
        for conversation_id in ids:
            project.sandbox.chat.add_message(conversation_id, at=project.sandbox.now())
    project.sync(since=today, most_retried=len(ids))
    assert project.rows(SKIPPED) == []
    project.assert_tables_agree()


def test_when_the_api_is_down_not_every_conversation_is_requested(tmp_path: Path) -> None:
    project = new_project(tmp_path, 150, most=5)
    project.sandbox.add_fault(Fault("503", endpoint="show", times=None))
    with pytest.raises(
        ApiDownError,
        match=r"^Conversations cannot be read \(failures in a row: \d+\)\. None was ever",
    ):
        project.sync()
    assert len(project.sandbox.stats()["shows"]) < 100
    project.sandbox.clear_faults()
    project.sync()
    project.assert_tables_agree()


def test_an_api_that_goes_down_with_little_to_read_fails_the_run(project: Project) -> None:
    project.sync()
    conversation_id = next(iter(project.sandbox.chat.conversations))
    project.sandbox.chat.add_message(conversation_id, at=project.sandbox.now())
    project.clock.sleep(60)
    project.sandbox.add_fault(Fault("503", endpoint="show", times=None))
    with pytest.raises(ApiDownError, match="which was read before"):
        project.sync()


def test_a_deleted_conversation_is_marked_and_kept_and_not_requested_again(
    project: Project,
) -> None:
    project.sync()
    sandbox, number = project.sandbox, max(project.sandbox.chat.conversations)
    sandbox.chat.delete_conversation(number, at=sandbox.now())
    kept = count(project, "raw_messages where conversation_id = $id", id=number)
    project.sync(refresh=True)
    missing = (
        "select conversation_id from zipchat.raw_conversations where missing_since is not null"
    )
    assert project.rows(missing) == [(number,)]
    assert count(project, "raw_messages where conversation_id = $id", id=number) == kept
    history = "conversation_history where conversation_id = $id and missing_since is not null"
    assert count(project, history, id=number) == 1
    shown = sandbox.stats()["shows"].get(number)
    project.sync(refresh=True)
    assert sandbox.stats()["shows"].get(number) == shown

    project.clock.sleep(60)
    sandbox.chat.restore_conversation(number, at=sandbox.now())
    sandbox.chat.add_message(number, at=sandbox.now())
    project.sync()
    assert project.rows(missing) == []
    project.assert_tables_agree()


def test_a_conversation_deleted_after_the_listing_is_marked_when_it_answers_404(
    project: Project,
) -> None:
    victim = max(project.sandbox.chat.conversations)

    def delete(sandbox: Sandbox, request: Any) -> None:
        if request.endpoint == "show" and victim in sandbox.chat.conversations:
            sandbox.chat.delete_conversation(victim, at=sandbox.now())

    project.sandbox.before_request = delete
    _, result = project.sync(concurrency=1)
    assert result.missing == [victim]
    project.assert_tables_agree()


def test_a_conversation_whose_newest_message_was_deleted_is_not_missing(project: Project) -> None:
    project.sync()
    chat, at = project.sandbox.chat, project.sandbox.now()
    chat.escalate(conversation_id := next(iter(chat.conversations)), at=at)
    chat.add_message(conversation_id, at=at)
    project.clock.sleep(60)
    project.sync()
    chat.delete_newest_message(conversation_id, at=project.sandbox.now())
    project.sync(refresh=True)
    assert project.rows("select count(missing_since) from zipchat.raw_conversations") == [(0,)]
    stored = project.rows(
        "select epoch(last_message_at) from zipchat.raw_conversations where conversation_id = $id",
        id=conversation_id,
    )
    assert stored == [(chat.conversations[conversation_id].last_message_at.timestamp(),)]


def test_after_a_bulk_deletion_each_run_looks_up_some_until_all_are_known(tmp_path: Path) -> None:
    deleted = MOST_UNLISTED + 30
    project = new_project(tmp_path, deleted + 5, most=2, days=10)
    project.sync()
    before = project.rows("select as_of from zipchat.listing_coverage")
    project.clock.sleep(60)
    chat = project.sandbox.chat
    for conversation_id in list(chat.conversations)[:deleted]:
        chat.delete_conversation(conversation_id, at=project.sandbox.now())
    again = midnight(NOW - timedelta(days=20))
    project.sync(relist_since=again)
    assert count(project, "raw_conversations where missing_since is not null") == MOST_UNLISTED
    assert project.rows("select as_of from zipchat.listing_coverage") == before
    project.sync(relist_since=again)
    assert count(project, "raw_conversations where missing_since is not null") == deleted
    assert project.rows("select as_of from zipchat.listing_coverage") > before
    project.assert_tables_agree()


@pytest.mark.parametrize("escalated_days_ago", [3, 9])
def test_an_escalation_that_no_message_follows_is_seen_by_listing_the_last_days_again(
    project: Project, escalated_days_ago: int
) -> None:
    quiet = max(
        (
            found
            for found in project.sandbox.chat.conversations.values()
            if found.last_message_at < NOW - timedelta(days=escalated_days_ago)
            and not found.escalations
            and not found.manual_reply_mode
        ),
        key=lambda found: found.last_message_at,
    )
    project.sync()
    project.clock.sleep(3600)
    project.sandbox.chat.escalate(quiet.id, at=project.sandbox.now())
    seen = f"raw_conversations where last_escalated_at is not null and conversation_id = {quiet.id}"
    today = midnight(NOW)
    project.sync(since=today, most_states=30)
    assert count(project, seen) == 0
    project.sync(since=today, relist_since=quiet.last_message_at)
    assert count(project, seen) == 1


def test_a_wrong_key_ends_the_run_at_the_first_call(project: Project) -> None:
    project.sandbox.key = "zc-another"
    with pytest.raises(UnauthorizedError, match="Check the API key"):
        project.sync()
    assert project.sandbox.stats()["requests"] == 1


def test_bad_records_keep_their_payload_and_stop_nothing(project: Project) -> None:
    chat = project.sandbox.chat
    conversation = next(iter(chat.conversations.values()))
    conversation.messages[0].message = "half a pair: \ud83d"
    conversation.channel = 7  # type: ignore[assignment]  # a field of the wrong type

    def odd(_request: Request, payload: dict[str, Any]) -> dict[str, Any]:
        for found in payload.get("conversations", [payload.get("conversation", {})]):
            if found.get("id") == conversation.id:
                found |= {"last_escalated_at": "tomorrow", "surprise": {"a": [1]}}
        return payload

    project.sandbox.alter = odd
    project.sync()
    assert project.rows(
        "select channel, last_escalated_at, payload ->> 'last_escalated_at',"
        " payload ->> '$.surprise.a[0]' from zipchat.raw_conversations where conversation_id = $id",
        id=conversation.id,
    ) == [("7", None, "tomorrow", "1")]
    assert project.rows(
        "select message from zipchat.raw_messages where message_id = $id",
        id=conversation.messages[0].id,
    ) == [("half a pair: �",)]


class Killed(BaseException):
    """Nothing in the code under test expects it, as nothing expects a kill."""


@settings(max_examples=effort(2, 15), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    order=st.sampled_from(["desc", "asc", "id"]),
    pagination=st.sampled_from(["none", "meta", "pagination"]),
    shuffle_ties=st.booleans(),
    changes=st.integers(0, 3),
    fault_rate=st.sampled_from([0.0, 0.0, 0.05]),
    data=st.data(),
)
def test_nothing_is_lost_under_changes_faults_and_kills(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    order: Any,
    pagination: Any,
    shuffle_ties: bool,
    changes: int,
    fault_rate: float,
    data: st.DataObject,
) -> None:
    """Runs under constant change, some of them cut off at a random request; then one undisturbed."""
    conversations = data.draw(st.sampled_from([3, 99, 100, 101, 130]))
    chat = generate(seed=seed, conversations=conversations, days=20, now=NOW, max_messages=230)
    project = Project(
        Sandbox(
            chat=chat,
            limit=None,
            order=order,
            pagination=pagination,
            shuffle_ties=shuffle_ties,
            fault_rate=fault_rate,
            seed=seed,
        ),
        Warehouse(tmp_path_factory.mktemp("lost") / "zipchat.duckdb"),
    )
    random = Random(seed)
    for _ in range(2):
        left = data.draw(st.integers(1, 2 * conversations))

        def before_request(sandbox: Sandbox, _request: Any) -> None:
            nonlocal left
            left -= 1
            project.clock.now += 0.2
            for _ in range(random.randint(0, changes)):
                # No incremental listing sees a conversation that returns with only old
                # activity; see docs/metrics.md, "What cannot be known".
                sandbox.chat.change(random, at=sandbox.now(), kinds=WITHOUT_DELETIONS)
            if left == 0:
                raise Killed

        project.sandbox.before_request = before_request
        with suppress(Killed, ListingUnsettledError, ApiDownError):
            project.sync()
    project.sandbox.before_request = None
    project.sandbox.fault_rate = 0
    project.clock.sleep(60)
    project.sync()
    project.assert_tables_agree(states=False)
    project.sync(refresh=True)
    project.assert_tables_agree()


def test_a_state_that_changes_between_two_pages_is_stored_before_and_after(tmp_path: Path) -> None:
    project = new_project(tmp_path, 150, most=2)
    chat = project.sandbox.chat
    newest_first = sorted(chat.conversations.values(), key=lambda c: c.last_message_at)[::-1]
    on_both_pages = newest_first[98].id

    def before_request(sandbox: Sandbox, _request: Any) -> None:
        if sandbox.stats()["requests"] == 3:  # after users and the first page
            project.clock.sleep(60)
            chat.escalate(on_both_pages, at=sandbox.now())

    project.sandbox.before_request = before_request
    project.sync()
    assert count(project, "conversation_history where conversation_id = $id", id=on_both_pages) == 2


def test_all_runs_around_a_kill_cost_a_batch_more_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_size = 200
    monkeypatch.setattr(gather, "BATCH_SIZE", batch_size)
    uninterrupted, _ = new_project(tmp_path, 300, most=20).sync()
    (tmp_path / "killed").mkdir()
    project = new_project(tmp_path / "killed", 300, most=20)

    def before_request(sandbox: Sandbox, _request: Any) -> None:
        if sandbox.stats()["requests"] == 250:
            raise Killed

    project.sandbox.before_request = before_request
    with pytest.raises(Killed):
        project.sync(concurrency=2)
    project.sandbox.before_request = None
    project.sync()
    rows = sum(map(len, project.sandbox.truth()["messages"].values()))
    in_a_batch = batch_size * 300 / rows
    more = project.sandbox.stats()["requests"] - uninterrupted
    # The batch being stored, those waiting, and the two calls in flight.
    assert more <= 2 * in_a_batch + 2
    project.assert_tables_agree()


@pytest.mark.parametrize("seconds", [-100_000, 100_000])
def test_our_clock_may_be_set_in_the_middle_of_a_sync(project: Project, seconds: int) -> None:
    sandbox = project.sandbox

    def before_request(_sandbox: Sandbox, _request: Request) -> None:
        if sandbox.stats()["requests"] == 20:
            project.clock.now += seconds
            sandbox.clock_offset -= seconds  # the server's clock goes on

    sandbox.before_request = before_request
    project.sync()
    project.assert_tables_agree()
    for conversation_id in list(sandbox.chat.conversations)[::7]:
        sandbox.chat.add_message(conversation_id, at=sandbox.now())
    project.clock.sleep(60)
    project.sync()
    project.assert_tables_agree()
