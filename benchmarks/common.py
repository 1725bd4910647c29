"""What the sections share: tables, clients and syncs, processes, and what is measured."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, serve
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.engine import LAKE
from zipchat_dagster.warehouse.warehouse import Transaction

NOW = datetime.now(UTC).replace(microsecond=0)
START = (NOW - timedelta(days=61)).replace(hour=0, minute=0, second=0)
END = START + timedelta(days=63)
LOG = logging.getLogger("zipchat_dagster")


class Tables(Warehouse):
    """A warehouse that remembers its longest transaction, in seconds and in CPU seconds. `folder`
    has what it takes on disk, apart from the catalog of a lake."""

    longest = longest_cpu = 0.0
    folder: Path

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        started, cpu = time.monotonic(), time.process_time()
        with super().transaction() as transaction:
            yield transaction
        self.longest = max(self.longest, time.monotonic() - started)
        self.longest_cpu = max(self.longest_cpu, time.process_time() - cpu)


@contextmanager
def file_tables() -> Iterator[Tables]:
    """Empty tables in a file, alone in its folder."""
    with tempfile.TemporaryDirectory() as folder:
        tables = Tables(Path(folder) / "warehouse.duckdb")
        tables.folder = Path(folder)
        yield tables


@contextmanager
def lake_tables() -> Iterator[Tables]:
    """Empty tables in a lake, with a PostgreSQL of its own on this machine."""
    from zipchat_dagster_tests.postgres import postgres  # with pytest, which takes memory

    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as server:
        os.environ |= server.environment
        data = Path(folder) / "data"
        tables = Tables(f"{LAKE}dbname=postgres", data_path=str(data))
        tables.folder = data
        yield tables


def client_of(api: Sandbox | str, **options: Any) -> ZipchatClient:
    """A client of a sandbox in this process, or of one that is served at this URL."""
    options |= {"base_url": api} if isinstance(api, str) else {"transport": api.transport()}
    return ZipchatClient(api_key=DEFAULT_KEY, chat_id=1, **options)


def sync(
    api: Sandbox | str,
    tables: Warehouse,
    since: datetime = START,
    until: datetime = END,
    **options: Any,
) -> ZipchatClient:
    """Users, conversations and messages. Returns the client, which has counted its requests."""
    with client_of(api, **options) as client:
        sync_users(client, tables)
        sync_conversations(client, tables, since=since, refresh=False, log=LOG)
        sync_messages(client, tables, since=since, until=until, days=[], refresh=False, log=LOG)
    return client


def sync_file(url: str, path: Path, **options: Any) -> ZipchatClient:
    """The same in a process of its own: what it gets must be picklable."""
    return sync(url, Warehouse(path), **options)


def served_sync(sandbox: Sandbox) -> tuple[int, float]:
    """Requests and seconds of a first sync over HTTP, with a budget of its own."""
    with file_tables() as tables, serve(sandbox) as url:
        started = time.monotonic()
        requests = sync(url, tables, budget=tables.path.with_name("budget.sqlite")).requests
        seconds = time.monotonic() - started
        assert count_stored(tables.path) == count_true(sandbox)
    return requests, seconds


def count_stored(path: Path) -> tuple[int, ...]:
    """Conversations and messages."""
    with Warehouse(path).connection() as connection:
        ((*counts,),) = connection.execute(
            "select (select count(*) from zipchat.raw_conversations),"
            " (select count(*) from zipchat.raw_messages)"
        ).fetchall()
    return tuple(counts)


def count_true(sandbox: Sandbox) -> tuple[int, ...]:
    """The same, as they are in the sandbox."""
    messages = sandbox.truth()["messages"].values()
    return len(messages), sum(map(len, messages))


def start_process(
    target: Callable[..., object], *arguments: Any, **options: Any
) -> multiprocessing.process.BaseProcess:
    """A process of its own that shares nothing with this one."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=arguments, kwargs=options)
    process.start()
    return process


def measure(tables: Tables, what: str, work: Callable[[], object]) -> None:
    """Do it, and print what it took; with a number as its result, that too."""
    tables.longest = tables.longest_cpu = 0.0
    started, cpu = time.monotonic(), time.process_time()
    count = work()
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    print(
        f"{what:36}{f'{count:,}' if isinstance(count, int) else '':>10}: {seconds:7.2f} s (CPU"
        f" {cpu:6.2f} s), longest transaction {tables.longest:5.2f} s (CPU"
        f" {tables.longest_cpu:5.2f} s), peak memory {peak_megabytes():,} MB",
        flush=True,
    )


def measure_maintenance(tables: Tables) -> None:
    """The same for maintenance, and what it changes on disk."""
    before = megabytes(tables)
    measure(tables, "maintenance", tables.maintain)
    counts = tables.maintain(dry_run=True)
    files = f" in {counts['data_files_before']} files" if "data_files_before" in counts else ""
    print(
        f"on disk {before:,.1f} MB, after maintenance {megabytes(tables):,.1f} MB, of which"
        f" {counts['bytes_before'] / 1e6:,.1f} MB{files} are the newest snapshot",
        flush=True,
    )


def megabytes(tables: Tables) -> float:
    return sum(file.stat().st_size for file in tables.folder.rglob("*") if file.is_file()) / 1e6


def peak_megabytes() -> int:
    """Of this process alone. On Linux, what `getrusage` reports includes its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        return int(line.split()[1]) // 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
