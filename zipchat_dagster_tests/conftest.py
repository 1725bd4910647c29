"""Shared by the tests: a sandbox with a chat, clients of it, and an empty warehouse."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from zipchat_dagster.client import Clock as MachineClock
from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Sandbox, generate
from zipchat_dagster.sync import MessageResult, sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics
from zipchat_dagster.warehouse.engine import in_memory
from zipchat_dagster_tests.postgres import Server, postgres

NOW = datetime.now(UTC).replace(microsecond=0)
# Of a name (the same name: the same tables) and of options of Warehouse.
Open = Callable[..., Warehouse]
LOG = logging.getLogger("zipchat_dagster")
RULES = Rules()
# Set by .ci/run: random searches are longer and more processes run at once.
THOROUGH = "THOROUGH" in os.environ
thorough = pytest.mark.skipif(
    not THOROUGH, reason="takes long: runs in .ci/run, or with THOROUGH=1"
)
# These take longest, or wait for processes: begun first, they wait while the others are at work.
FIRST = (
    "test_ui.py",
    "test_deploy.py",
    "test_many_runs.py",
    "test_definitions.py",
    "test_variants.py",
    "test_many_machines.py",
    "test_component.py",
    "test_chats.py",
    "test_terminate.py",
    "test_odd_data.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


class Clock(MachineClock):
    """A clock that only sleeping moves."""

    def __init__(self, now: float = NOW.timestamp()) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Project:
    """A sandbox and a warehouse, synced as the assets do it, without Dagster."""

    def __init__(self, sandbox: Sandbox, warehouse: Warehouse) -> None:
        self.sandbox = sandbox
        self.warehouse = warehouse
        self.clock = Clock()

    def client(self, **options: Any) -> ZipchatClient:
        self.sandbox.clock = self.clock.time  # one clock, so that no midnight comes in between
        return ZipchatClient(
            api_key=DEFAULT_KEY,
            chat_id=self.sandbox.chat.chat_id,
            base_url=BASE_URL,
            transport=self.sandbox.transport(),
            **{"clock": self.clock, **options},
        )

    def sync(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        refresh: bool = False,
        most_states: int = 0,
        most_retried: int = 0,
        relist_since: datetime | None = None,
        **options: Any,
    ) -> tuple[int, MessageResult]:
        """Users, conversations and messages of [since, until); returns (requests, messages)."""
        since = since or midnight(NOW - timedelta(days=60))
        until = until or midnight(NOW) + timedelta(days=1)
        count = (until - since).days
        days = [f"{since + timedelta(days=n):%Y-%m-%d}" for n in range(count)]
        with self.client(**options) as client:
            sync_users(client, self.warehouse)
            sync_conversations(
                client,
                self.warehouse,
                since=since,
                refresh=refresh,
                log=LOG,
                most_states=most_states,
                relist_since=relist_since,
            )
            result = sync_messages(
                client,
                self.warehouse,
                since=since,
                until=until,
                days=days,
                refresh=refresh,
                log=LOG,
                most_retried=most_retried,
            )
            return client.requests, result

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.warehouse.connection() as connection:
            return connection.execute(query, parameters or None).fetchall()

    def assert_tables_agree(self, *, states: bool = True) -> None:
        """Every conversation and message of the sandbox is stored once, as the API shows it.

        `states=False` leaves out what changes without moving `last_message_at`.
        """
        truth = self.sandbox.truth()
        here = {row["id"]: row for row in truth["conversations"]}
        stored = self.rows(
            "select conversation_id, epoch(created_at), epoch(last_message_at), channel,"
            " lead_id, lead_email, manual_reply_mode, epoch(last_escalated_at), epoch(last_escalation_resolved_at),"
            " assignee_id from zipchat.raw_conversations"
            " where missing_since is null order by 1"
        )
        expected = [
            (
                i,
                _epoch(row["created_at"]),
                _epoch(row["last_message_at"]),
                row["channel"],
                (row["lead"] or {}).get("id"),
                (row["lead"] or {}).get("email"),
                row["manual_reply_mode"],
                _epoch(row["last_escalated_at"]),
                _epoch(row["last_escalation_resolved_at"]),
                (row["assignee"] or {}).get("id"),
            )
            for i, row in sorted(here.items())
        ]
        width = None if states else 6
        assert [row[:width] for row in stored] == [row[:width] for row in expected]
        messages = self.rows(
            "select message_id, conversation_id, role, message, manual_reply, sender_id,"
            " epoch(created_at) from zipchat.raw_messages semi join ("
            " from zipchat.raw_conversations where missing_since is null) using (conversation_id)"
            " order by 1"
        )
        assert messages == sorted(
            (
                message["id"],
                conversation_id,
                message["role"],
                message["message"],
                message["manual_reply"],
                message["sender_id"],
                _epoch(message["created_at"]),
            )
            for conversation_id, found in truth["messages"].items()
            for message in found
        )
        (users,) = self.rows("select count(*) from zipchat.users where is_current")
        assert users == (len(truth["users"]),)


def derive_all(
    warehouse: Warehouse,
    *,
    days: Sequence[str] = (),
    now: datetime = NOW,
    rules: Rules = RULES,
    chat_id: int = 1,
    from_scratch: bool = False,
) -> list[str]:
    """Derive a chat's facts, leads and metrics. Returns the days whose metrics were written."""
    rebuild_facts(warehouse, chat_id=chat_id, now=now, rules=rules, from_scratch=from_scratch)
    rebuild_leads(warehouse, chat_id=chat_id)
    return rebuild_metrics(
        warehouse, chat_id=chat_id, days=days, now=now, rules=rules, from_scratch=from_scratch
    )


def create_tables(warehouse: Warehouse) -> None:
    with warehouse.transaction():
        pass


def without_settings() -> dict[str, str]:
    """This process's environment without the settings that a developer may have in it."""
    return {name: text for name, text in os.environ.items() if not name.startswith("ZIPCHAT_")}


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """Refuse to write files beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for this many calls; the next one is interrupted as if by a kill."""
    left = iter(range(calls))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **named)

    return call


def midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _epoch(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


class Lakes:
    """A PostgreSQL server with a database for each lake. All of them share a folder for data."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.data_path = str(folder / "lakes")
        self._numbers = count()
        self.template = self.create(template="template1")
        create_tables(self.open(self.template))  # takes longer than copying the database
        self.run(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            self.template,
        )

    def address(self, name: str) -> str:
        """For ZIPCHAT_DATABASE."""
        server = self.server
        return (
            f"ducklake:postgres:dbname={name} host={server.host} port={server.port}"
            f" user={server.user}"
        )

    def open(self, name: str, **options: Any) -> Warehouse:
        return Warehouse(self.address(name), data_path=self.data_path, **options)

    def create(self, *, template: str = "") -> str:
        """An empty lake; with PostgreSQL's own template, one without any table. Returns its name."""
        name = f"lake{next(self._numbers)}"
        self.run(f"create database {name} template {template or self.template}")
        return name

    def drop(self, name: str) -> None:
        self.run(f"drop database {name} with (force)")

    def run(self, statement: str, *parameters: str, database: str = "postgres") -> int:
        """Run a statement in PostgreSQL. Returns how many rows it answers or changes."""
        import psycopg2

        server = self.server
        connection = psycopg2.connect(
            host=server.host, port=server.port, user=server.user, dbname=database
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.rowcount


@pytest.fixture(scope="session")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakes]:
    """Skipped where PostgreSQL's programs or the extra `lake` are missing."""
    for module in ("psycopg2", "duckdb_extension_ducklake"):
        pytest.importorskip(module, reason="a lake needs: pip install '.[lake]'")
    folder = tmp_path_factory.mktemp("lakes")
    with postgres(folder) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", server.password)
        # DuckDB checks its extensions' signatures for a third of a second, in each warehouse.
        unchecked = partial(in_memory, allow_unsigned_extensions="true")
        environment.setattr("zipchat_dagster.warehouse.lake.in_memory", unchecked)
        yield Lakes(server, folder)


@contextmanager
def opened_on(engine: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Open]:
    """A function that opens tables on an engine, `file` or `lake`."""
    if engine == "file":
        yield lambda name="zipchat", **options: Warehouse(folder / f"{name}.duckdb", **options)
        return
    lakes: Lakes = request.getfixturevalue("lakes")
    created: dict[str, str] = {}

    def opened(name: str = "zipchat", **options: Any) -> Warehouse:
        if name not in created:
            created[name] = lakes.create()
        return lakes.open(created[name], **options)

    yield opened
    for name in created.values():
        lakes.drop(name)


@pytest.fixture(params=["file", "lake"] if THOROUGH else ["file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Where a test's tables are, on each engine in turn: `place()` opens them."""
    with opened_on(request.param, request, tmp_path) as opened:
        yield opened


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


@pytest.fixture
def project(warehouse: Warehouse) -> Project:
    """Sixty conversations over three weeks; no rate limit."""
    chat = generate(seed=5, conversations=60, days=21, now=NOW)
    return Project(Sandbox(chat=chat, limit=None), warehouse)


def effort(usual: int, thorough: int) -> int:
    """How many examples or processes a test tries: more of them in `.ci/run`."""
    return thorough if THOROUGH else usual
