"""A replay returns what is stored, claims no more than that, and sends no requests."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zipchat_dagster.client import NotFoundError, UnprocessableError, ZipchatClient, ZipchatError
from zipchat_dagster.replay import ReplayTransport
from zipchat_dagster.sandbox import BASE_URL, Sandbox, generate
from zipchat_dagster.sandbox.chat import WITHOUT_DELETIONS
from zipchat_dagster.sync import read_states, sync_conversations, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import LOG, NOW, Clock, Project, derive_all, midnight

SINCE = midnight(NOW - timedelta(days=60))
UNTIL = midnight(NOW) + timedelta(days=2)  # a test's clock may pass midnight


class Quick(Project):
    """With many requests in flight, whose answers are stored in few batches."""

    def client(self, **options: Any) -> ZipchatClient:
        return super().client(**{"concurrency": 100, **options})


class Replay(Project):
    """A project whose API is a replay of another project's database."""

    def __init__(self, source: Warehouse, target: Warehouse, *, chat_id: int = 1) -> None:
        self.source = source
        self.warehouse = target
        self.chat_id = chat_id
        self.clock = Clock()

    def client(self, **options: Any) -> ZipchatClient:
        return ZipchatClient(
            api_key="none",
            chat_id=self.chat_id,
            base_url=BASE_URL,
            transport=ReplayTransport(self.source.path, chat_id=self.chat_id, logger=LOG),
            **{"clock": self.clock, "concurrency": 100, **options},
        )


def a_sandbox() -> Sandbox:
    """More than a page of conversations, some with more than a page of messages."""
    return Sandbox(chat=generate(seed=6, conversations=104, days=40, now=NOW), limit=None)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a complete sync, to be copied."""
    path = tmp_path_factory.mktemp("synced") / "earlier.duckdb"
    Quick(a_sandbox(), Warehouse(path)).sync(since=SINCE, until=UNTIL)
    return path


@pytest.fixture
def project(synced: Path, tmp_path: Path) -> Project:
    """A sandbox and a complete sync of it."""
    copy = tmp_path / "earlier.duckdb"
    shutil.copyfile(synced, copy)
    return Quick(a_sandbox(), Warehouse(copy))


@pytest.fixture
def unsynced(warehouse: Warehouse) -> Project:
    return Quick(a_sandbox(), warehouse)


@pytest.fixture
def target(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "rebuilt.duckdb")


@pytest.fixture
def replay(project: Project, target: Warehouse) -> Replay:
    return Replay(project.warehouse, target)


def table(project: Project, name: str, *, leaving: tuple[str, ...] = ("observed_at",)) -> list[Any]:
    """The rows of a table, without the times of observation."""
    return project.rows(f"select * exclude ({', '.join(leaving)}) from zipchat.{name} order by all")


def assert_same_tables(project: Project, replay: Project) -> None:
    for name, leaving in {
        "raw_conversations": ("observed_at", "shown_at"),
        "raw_messages": ("observed_at",),
        "users": ("observed_at", "first_seen_at", "last_seen_at"),
        "leads": ("chat_id",),
        "escalations": ("chat_id",),
        "escalation_metrics": ("computed_at",),
        "activity_by_hour": ("computed_at",),
    }.items():
        expected = table(project, name, leaving=leaving)
        assert expected
        assert table(replay, name, leaving=leaving) == expected, name


def test_a_replay_of_a_sync_gives_the_same_tables(project: Project, replay: Replay) -> None:
    replay.sync(since=SINCE, until=UNTIL)
    assert project.sandbox.stats()["requests"] == 0
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range(SINCE, UNTIL, inclusive="left")]
    for derived in (project, replay):
        derive_all(derived.warehouse, days=days)
    assert_same_tables(project, replay)
    requests, _ = replay.sync(since=SINCE, until=UNTIL)
    assert requests == 2


def test_the_newer_of_list_and_show_payload_gives_the_state(
    project: Project, replay: Replay
) -> None:
    project.sandbox.clock_offset = 60
    later = NOW + timedelta(seconds=30)
    chat = project.sandbox.chat
    listed, shown = sorted(
        (c for c in chat.conversations.values() if not c.manual_reply_mode),
        key=lambda c: c.last_message_at,
    )[-2:]
    user = next(iter(chat.users))
    chat.assign(listed.id, user, at=later)
    chat.assign(shown.id, user, at=later)
    with project.client() as client:  # the list alone, which shows both
        sync_conversations(client, project.warehouse, since=SINCE, refresh=True, log=LOG)
    chat.assign(shown.id, None, at=later)
    project.sandbox.clock_offset = 120
    with project.client() as client:
        read_states(client, project.warehouse, [shown.id], log=LOG)
    replay.sync(since=SINCE, until=UNTIL)
    query = "select conversation_id, manual_reply_mode, assignee_id, lead_id, lead_email from zipchat.raw_conversations order by 1"
    assert replay.rows(query) == project.rows(query)


def test_unknown_fields_come_back_unchanged(project: Project, replay: Replay) -> None:
    with project.warehouse.connection() as connection:
        for name in ("raw_conversations", "raw_messages", "users"):
            connection.execute(
                f"""update zipchat.{name} set payload =
                json_merge_patch(payload, '{{"mood": {{"score": 0.25, "words": ["å", "😕"]}}}}')"""
            )
    replay.sync(since=SINCE, until=UNTIL)
    for name in ("raw_conversations", "raw_messages", "users"):
        (stored,) = replay.rows(f"select distinct payload -> 'mood' from zipchat.{name}")
        assert json.loads(stored[0]) == {"score": 0.25, "words": ["å", "😕"]}


def test_missing_conversations_and_unusable_records_are_left_out_and_counted(
    project: Project, replay: Replay, caplog: pytest.LogCaptureFixture
) -> None:
    gone = max(project.sandbox.chat.conversations)
    project.sandbox.chat.delete_conversation(gone, at=NOW)
    project.sandbox.clock_offset = 60
    project.sync(since=SINCE, until=UNTIL, refresh=True)
    with project.warehouse.connection() as connection:
        connection.execute(
            "insert into zipchat.rejected_records values (1, 'message', '{}', now(), null)"
        )
    with caplog.at_level("INFO", "zipchat_dagster"):
        replay.sync(since=SINCE, until=UNTIL)
    assert "conversations that are missing: 1; records without a usable id: 1." in caplog.text
    assert replay.rows("select count(*) from zipchat.raw_conversations") == [(103,)]
    with replay.client() as client, pytest.raises(NotFoundError):
        client.get_conversation(gone)


def test_tables_can_be_rebuilt_in_another_time_zone(project: Project, tmp_path: Path) -> None:
    replay = Replay(
        project.warehouse, Warehouse(tmp_path / "kiritimati.duckdb", timezone="Pacific/Kiritimati")
    )
    replay.sync(since=SINCE, until=UNTIL)
    days = "select conversation_id, date_diff('day', '2000-01-01', partition_date) from zipchat.raw_conversations"
    utc, kiritimati = dict(project.rows(days)), dict(replay.rows(days))
    assert {kiritimati[i] - utc[i] for i in utc} == {0, 1}


def test_the_source_can_be_synced_meanwhile(project: Project, replay: Replay) -> None:
    with replay.client() as client:
        listing = iter(client.list_conversations(since=SINCE))
        rows, _ = next(listing)
        project.sandbox.chat.add_conversation(at=project.sandbox.now())
        project.sync(since=SINCE, until=UNTIL)  # is not kept waiting for the file
        ids = {row["id"] for rows, _ in [(rows, None), *listing] for row in rows}
    assert len(ids) == 104
    assert project.rows("select count(*) from zipchat.raw_conversations") == [(105,)]


# What is not stored is not claimed


def test_days_before_the_stored_list_are_refused(unsynced: Project, target: Warehouse) -> None:
    project, replay = unsynced, Replay(unsynced.warehouse, target)
    since = midnight(NOW - timedelta(days=10))
    project.sync(since=since, until=UNTIL)
    with pytest.raises(UnprocessableError, match=f"complete only from {since:%Y-%m-%d} 00:00:00"):
        replay.sync(since=since - timedelta(days=1), until=UNTIL)
    assert replay.rows("select count(*) from zipchat.listing_coverage") == [(0,)]
    replay.sync(since=since, until=UNTIL)
    assert table(replay, "raw_messages") == table(project, "raw_messages")


def test_conversations_whose_messages_were_never_read_are_named(
    unsynced: Project, target: Warehouse
) -> None:
    project, replay = unsynced, Replay(unsynced.warehouse, target)
    project.sync(since=SINCE, until=midnight(NOW - timedelta(days=20)))  # lists all of them
    _, result = replay.sync(since=SINCE, until=UNTIL)
    assert result.failures
    assert all("Not all messages of this" in reason for reason in result.failures.values())
    replay.sync(since=SINCE, until=midnight(NOW - timedelta(days=20)))
    assert table(replay, "raw_messages") == table(project, "raw_messages")


def test_a_sync_from_the_api_after_a_replay_misses_nothing(
    project: Project, replay: Replay
) -> None:
    replay.sync(since=SINCE, until=UNTIL)
    project.sandbox.clock_offset = 600
    project.sandbox.mutate_kinds = WITHOUT_DELETIONS  # seen only by a complete list
    project.sandbox.change(60)
    later = Quick(project.sandbox, replay.warehouse)
    requests, _ = later.sync(since=SINCE, until=UNTIL)
    assert requests < 80
    later.assert_tables_agree(states=False)


def test_writes_are_refused(project: Project, replay: Replay) -> None:
    conversation_id = max(project.sandbox.chat.conversations)
    with replay.client() as client:
        with pytest.raises(UnprocessableError, match="a replay of stored data: nothing can be"):
            client.hand_back(conversation_id)
        with pytest.raises(UnprocessableError, match="a replay of stored data: nothing can be"):
            client.send_message(conversation_id, message="Hello", sender_id=1)


@pytest.mark.parametrize(
    ("chat_id", "sentence"),
    [(77, "Check the chat id .77."), (1, "No listing of conversations was ever completed")],
)
def test_another_chat_and_an_unfinished_one_are_reported(
    unsynced: Project, target: Warehouse, chat_id: int, sentence: str
) -> None:
    with unsynced.client() as client:
        sync_users(client, unsynced.warehouse)
    with pytest.raises(ZipchatError, match=sentence):
        Replay(unsynced.warehouse, target, chat_id=chat_id).sync(since=SINCE, until=UNTIL)
