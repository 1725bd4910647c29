"""The variants that ZIPCHAT_API selects, as Dagster runs them: only the real one sends requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zipchat_dagster.resources import ReplayResource, WarehouseResource
from zipchat_dagster.sandbox import Sandbox, generate, grow, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.write_back_jobs import write_back_jobs
from zipchat_dagster_tests.conftest import NOW, Project, midnight, thorough
from zipchat_dagster_tests.single import LANE
from zipchat_dagster_tests.test_definitions import environment, materialize

FIRST, LAST = f"{NOW - timedelta(days=3):%Y-%m-%d}", f"{NOW:%Y-%m-%d}"
RAW = ("--select", "users,raw_conversations,raw_messages")
DAYS = ("--partition-range", f"{FIRST}...{LAST}")
SINCE = midnight(NOW - timedelta(days=3))
UNTIL = midnight(NOW) + timedelta(days=1)


@pytest.fixture
def project(warehouse: Warehouse) -> Project:
    chat = generate(seed=9, conversations=60, days=10, now=NOW, max_messages=30)
    return Project(Sandbox(chat=chat, limit=None), warehouse)


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    """Of the API that no variant here may call."""
    with serve(project.sandbox) as url:
        yield url


def run(home: Path, url: str, **changes: str) -> str:
    """Materialize the raw assets for four days; returns the log."""
    home.mkdir(exist_ok=True)
    settings = environment(home, url, ZIPCHAT_API_KEY="", ZIPCHAT_START_DATE=FIRST, **changes)
    answer = materialize(settings, *RAW, *DAYS)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer.stderr


def metadata(home: Path, asset: str) -> dict[str, Any]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {n: value.value for n, value in event.asset_materialization.metadata.items()}


def rows(home: Path, name: str) -> set[tuple[Any, ...]]:
    with Warehouse(home / "warehouse.duckdb").connection(read_only=True) as connection:
        return set(connection.execute(f"select payload::varchar from zipchat.{name}").fetchall())


@thorough
def test_the_sandbox_is_the_same_chat_for_every_process(
    tmp_path: Path, project: Project, url: str
) -> None:
    home = tmp_path / "home"
    log = run(home, url, ZIPCHAT_API="sandbox", ZIPCHAT_CHAT_ID="")
    assert "Reading from the sandbox." in log
    messages = rows(home, "raw_messages")
    assert len(messages) > 300  # of three days and as much of a fourth as has passed
    first = metadata(home, "raw_messages")
    assert first["source"] == "the sandbox"
    assert first["requests"] >= len(rows(home, "raw_conversations"))
    run(home, url, ZIPCHAT_API="sandbox", ZIPCHAT_CHAT_ID="")
    assert messages <= rows(home, "raw_messages")
    # Minutes have passed, in which a conversation or two went on.
    assert metadata(home, "raw_messages")["requests"] <= 5
    assert metadata(home, "raw_conversations")["requests"] <= 32
    assert project.sandbox.stats()["requests"] == 0


def test_the_sandboxs_past_does_not_change() -> None:
    since = NOW - timedelta(days=40)
    former = grow(chat_id=1, since=since, now=NOW - timedelta(days=2))
    # Two days later, for somebody with a later start date.
    chat = grow(chat_id=1, since=since + timedelta(days=2), now=NOW)
    assert former.users == chat.users
    for known in former.conversations.values():
        if known.created_at >= since:
            later = chat.conversations[known.id]
            assert (later.created_at, later.channel, later.lead) == (
                known.created_at,
                known.channel,
                known.lead,
            )
            assert later.messages[: len(known.messages)] == known.messages
            escalated = [e.escalated_at for e in known.escalations]
            assert [e.escalated_at for e in later.escalations][: len(escalated)] == escalated
    assert len(chat.conversations) > len(former.conversations)
    assert max(c.last_message_at for c in chat.conversations.values()) <= NOW
    ids = [m.id for c in chat.conversations.values() for m in c.messages]
    assert len(set(ids)) == len(ids)
    assert chat.next_message_id > max(ids)


@thorough
def test_a_replay_rebuilds_the_tables_without_a_request(
    tmp_path: Path, project: Project, url: str
) -> None:
    project.sync(since=SINCE, until=UNTIL)
    asked = project.sandbox.stats()["requests"]
    home = tmp_path / "home"
    source = str(project.warehouse.path)
    log = run(home, url, ZIPCHAT_API="replay", ZIPCHAT_REPLAY_DATABASE=source)
    assert f"Reading from a replay of {source}." in log
    assert metadata(home, "users")["source"] == f"a replay of {source}"
    for name in ("raw_conversations", "raw_messages", "users"):
        stored = set(project.rows(f"select payload::varchar from zipchat.{name}"))
        assert rows(home, name) == stored
    assert project.sandbox.stats()["requests"] == asked


def test_writing_back_into_a_replay_is_refused(tmp_path: Path, project: Project) -> None:
    chat = project.sandbox.chat
    conversation_id = max(chat.conversations)
    chat.assign(conversation_id, next(iter(chat.users)), at=NOW)
    project.sync(since=midnight(NOW - timedelta(days=30)), until=UNTIL)
    job = dg.Definitions(
        jobs=write_back_jobs(LANE),
        resources={
            "zipchat": ReplayResource(chat_id="1", replay_database=str(project.warehouse.path)),
            "warehouse": WarehouseResource(database=str(tmp_path / "target.duckdb")),
        },
    ).resolve_job_def("hand_back_job")
    config = {"ops": {"hand_back": {"config": {"conversation_id": conversation_id}}}}
    with pytest.raises(dg.Failure) as caught:
        job.execute_in_process(run_config=config)
    assert "a replay of stored data: nothing can be written" in (caught.value.description or "")


@pytest.mark.parametrize(
    ("database", "chat_id", "sentence"),
    [
        ("none.duckdb", "1", "none.duckdb does not exist."),
        ("empty.duckdb", "1", "holds no tables of zipchat_dagster"),
        ("empty.duckdb", "", "ZIPCHAT_CHAT_ID: not set."),
    ],
)
def test_a_missing_source_or_chat_of_a_replay_is_reported_in_one_sentence(
    tmp_path: Path, database: str, chat_id: str, sentence: str
) -> None:
    with Warehouse(tmp_path / "empty.duckdb").connection():
        pass
    resource = ReplayResource(chat_id=chat_id, replay_database=str(tmp_path / database))
    with (
        pytest.raises(dg.Failure) as caught,
        dg.build_op_context() as context,
        resource.client(context),
    ):
        pass
    assert sentence in (caught.value.description or "")
    assert not caught.value.allow_retries
