"""`make bench`: completeness, cost and speed, as figures and ratios. About five minutes.

`make bench SECTIONS="cost memory"` runs these alone, `SECTIONS=long_backfill` one of 100,000
conversations, for about ten minutes. All runs against the sandbox on this machine; nothing here
asserts anything.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import budget
from benchmarks.metrics import metrics
from benchmarks.peers import peers
from zipchat_dagster.client import ListingUnsettledError, ZipchatClient
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse

NOW = datetime.now(UTC).replace(microsecond=0)
START = (NOW - timedelta(days=60)).replace(hour=0, minute=0, second=0)
END = START + timedelta(days=62)
LOG = logging.getLogger("zipchat_dagster")


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    usual = (completeness, cost, windows, live, kill, file_lock, memory, overhead)
    known = {section.__name__: section for section in (*usual, long_backfill, metrics, peers)}
    if unknown := [name for name in sys.argv[1:] if name not in known]:
        sys.exit(f"There is no section {', '.join(unknown)}; there are {', '.join(known)}.")
    for section in [known[name] for name in sys.argv[1:]] or usual:
        print(f"\n## {section.__doc__}", flush=True)
        section()


def completeness() -> None:
    """Conversations lost in one pass over 1,000 while the list moves, 20 lists each"""
    print(f"{'order':6} {'page loop':>10} {'ours':>6} {'not settled':>12} {'pages / least':>14}")
    for order in ("desc", "asc", "id"):
        naive = ours = unsettled = pages = least = 0
        for seed in range(20):
            lost, _ = _listed(seed, order, _page_loop)
            naive += lost
            try:
                lost, requests = _listed(
                    seed, order, lambda c: {r["id"] for r in c.iter_conversations()}
                )
            except ListingUnsettledError:
                unsettled += 1
                continue
            ours, pages, least = ours + lost, pages + requests, least + 10
        print(f"{order:6} {naive:10} {ours:6} {unsettled:12} {pages / max(least, 1):14.2f}")


def cost() -> None:
    """Requests: 600 conversations, then what later runs cost"""
    chat = generate(seed=1, conversations=600, days=30, now=NOW - timedelta(hours=1))
    sandbox = Sandbox(chat=chat, limit=None)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "zipchat.duckdb")
        messages = sandbox.truth()["messages"].values()
        least = 6 + 1 + sum(max(1, math.ceil(len(found) / 200)) for found in messages)
        first = _sync(sandbox, warehouse)
        print(f"first sync        {first:5}   least possible {least}, ratio {first / least:.3f}")
        print(f"nothing changed   {_sync(sandbox, warehouse):5}")
        day = START + timedelta(days=45)
        print(f"one old day again {_sync(sandbox, warehouse, day, day + timedelta(days=1)):5}")
        for conversation_id in list(chat.conversations)[:25]:
            chat.add_message(conversation_id, at=sandbox.now())
        print(f"25 changed        {_sync(sandbox, warehouse):5}")


def windows() -> None:
    """600 conversations over HTTP, 120 requests in 5 seconds: seconds, and against whole windows"""
    for latency in (0.0, 1.5):
        for pagination in ("meta", "none"):
            chat = generate(seed=3, conversations=600, days=20, now=NOW, max_messages=150)
            sandbox = Sandbox(
                chat=chat, limit=120, window=5, latency=latency, pagination=pagination
            )
            with tempfile.TemporaryDirectory() as folder, serve(sandbox) as url:
                warehouse = Warehouse(Path(folder) / "zipchat.duckdb")
                started = time.monotonic()
                requests = _sync(sandbox, warehouse, base_url=url, budget=Path(folder) / "b.sqlite")
                seconds = time.monotonic() - started
            ideal = math.ceil(requests / 120) * 5
            stats = sandbox.stats()
            full = [spent for _, spent in stats["windows"][1:-1]]
            print(
                f"latency {latency} s, pagination {pagination:5}: {requests} requests,"
                f" {seconds:.1f} s, {seconds / ideal:.2f} × {ideal} s; refused {stats['refused']};"
                f" windows {full}"
            )


def live() -> None:
    """A live run of 8 changed conversations while a backfill runs; 120 requests in 10 seconds"""
    for reserve in (0.25, 0.0):
        chat = generate(seed=3, conversations=1500, days=50, now=NOW, max_messages=20)
        sandbox = Sandbox(chat=chat, limit=120, window=10)
        with tempfile.TemporaryDirectory() as folder, serve(sandbox) as url:
            path, budget = Path(folder) / "zipchat.duckdb", Path(folder) / "b.sqlite"
            backfill = _start(_sync_process, path, url, budget, reserve)
            seconds, waited, requests = [], [], []
            for turn in range(4):
                while sandbox.stats()["requests"] < 200 * (turn + 1):
                    time.sleep(0.01)
                now = sandbox.now()
                with sandbox.lock:
                    for conversation_id in list(chat.conversations)[8 * turn : 8 * (turn + 1)]:
                        chat.add_message(conversation_id, at=now)
                today = now.replace(hour=0, minute=0, second=0)
                started = time.monotonic()
                with _client(None, url, budget) as client:
                    warehouse = Warehouse(path)
                    sync_conversations(client, warehouse, since=now, refresh=False, log=LOG)
                    sync_messages(
                        client,
                        warehouse,
                        since=today,
                        until=today + timedelta(days=1),
                        days=[],
                        refresh=False,
                        log=LOG,
                    )
                    waited.append(client.waited_seconds)
                    requests.append(client.requests)
                seconds.append(time.monotonic() - started)
            is_running = backfill.is_alive()
            backfill.kill()
            backfill.join()
        stats = sandbox.stats()
        full = [spent for _, spent in stats["windows"][1:-1]]
        print(
            f"reserve {reserve}: live runs took {[round(s, 1) for s in seconds]} s, of which they"
            f" waited {[round(s, 1) for s in waited]} s, for {requests} requests; refused"
            f" {stats['refused']}; windows {full}; backfill still running: {is_running}"
        )


def kill() -> None:
    """kill -9 at a random moment, then again: requests of all runs against one uninterrupted"""
    chat = generate(seed=4, conversations=600, days=30, now=NOW - timedelta(hours=1))
    whole = Sandbox(chat=chat, limit=None)
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted = _sync(whole, Warehouse(Path(folder) / "whole.duckdb"))
        for attempt in range(3):
            sandbox = Sandbox(chat=chat, limit=None)
            path = Path(folder) / f"killed{attempt}.duckdb"
            with serve(sandbox) as url:
                process = _start(_sync_process, path, url)
                while sandbox.stats()["requests"] < 150 * (attempt + 1):
                    time.sleep(0.005)
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
                at = sandbox.stats()["requests"]
                process = _start(_sync_process, path, url)
                process.join()
            requests = sandbox.stats()["requests"]
            stored = _stored(path)
            truth = sandbox.truth()["messages"]
            print(
                f"killed after {at:4}: {requests} requests, ratio {requests / uninterrupted:.3f};"
                f" stored {stored}, true {(len(truth), sum(map(len, truth.values())))}"
            )


def file_lock() -> None:
    """Eight writers and a reader on one database file: longest wait for it, 10 s"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zipchat.duckdb"
        with Warehouse(path).transaction():
            pass
        context = multiprocessing.get_context("spawn")
        waits: Any = context.Queue()
        processes = [
            context.Process(target=_use_file, args=(path, number, waits)) for number in range(9)
        ]
        for process in processes:
            process.start()
        found = [waits.get() for _ in processes]
        for process in processes:
            process.join()
    count, longest = sum(count for count, _ in found), max(wait for _, wait in found)
    print(f"transactions {count}, longest wait {longest:.2f} s")


def memory() -> None:
    """Peak memory of a process that syncs conversations of four messages of 1 KB, 8 in flight"""
    for count in (2_000, 10_000):
        _print_peak(count, concurrency=8)


def long_backfill() -> None:
    """Peak memory of a process that syncs conversations of four messages of 1 KB, 100 in flight"""
    _print_peak(100_000, concurrency=100)


def overhead() -> None:
    """The request budget by itself"""
    budget.main()


def _listed(seed: int, order: Any, listed: Callable[[ZipchatClient], set[Any]]) -> tuple[int, int]:
    """(conversations lost, requests): those that were there all along and were not listed."""
    chat = generate(seed=seed, conversations=1000, days=30, now=NOW, max_messages=3)
    random = Random(seed)
    gone: set[int] = set()

    def change(sandbox: Sandbox, _request: Any) -> None:
        for _ in range(3):
            sandbox.chat.change(random, at=sandbox.now())
            gone.update(sandbox.chat.deleted)

    sandbox = Sandbox(chat=chat, limit=None, order=order, before_request=change)
    before = set(chat.conversations)
    with _client(sandbox) as client:
        found = listed(client)
        return len((before & set(chat.conversations)) - gone - found), client.requests


def _page_loop(client: ZipchatClient) -> set[Any]:
    """What most connectors do."""
    found: set[Any] = set()
    for number in range(1, 100):
        page = client.list_conversations()._fetch_page(number, 100, None)
        found.update(row["id"] for row in page.rows)
        if len(page.rows) < 100:
            break
    return found


def _client(
    sandbox: Sandbox | None,
    base_url: str = BASE_URL,
    budget: Path | None = None,
    reserve: float = 0.0,
    concurrency: int = 8,
) -> ZipchatClient:
    transport = None if sandbox is None or base_url != BASE_URL else sandbox.transport()
    return ZipchatClient(
        api_key=DEFAULT_KEY,
        chat_id=1,
        base_url=base_url,
        transport=transport,
        budget_path=budget,
        reserve=reserve,
        concurrency=concurrency,
    )


def _sync(
    sandbox: Sandbox | None,
    warehouse: Warehouse,
    since: datetime = START,
    until: datetime = END,
    *,
    base_url: str = BASE_URL,
    budget: Path | None = None,
    reserve: float = 0.0,
    concurrency: int = 8,
) -> int:
    with _client(sandbox, base_url, budget, reserve, concurrency) as client:
        sync_users(client, warehouse)
        sync_conversations(client, warehouse, since=since, refresh=False, log=LOG)
        sync_messages(client, warehouse, since=since, until=until, days=[], refresh=False, log=LOG)
        return client.requests


def _start(target: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def _sync_process(path: Path, url: str, budget: Path | None = None, reserve: float = 0.0) -> None:
    _sync(None, Warehouse(path), base_url=url, budget=budget, reserve=reserve)


def _stored(path: Path) -> tuple[int, int]:
    with Warehouse(path).connection() as connection:
        (conversations,) = connection.execute(
            "select count(*) from zipchat.raw_conversations"
        ).fetchall()
        (messages,) = connection.execute("select count(*) from zipchat.raw_messages").fetchall()
    return conversations[0], messages[0]


def _use_file(path: Path, number: int, waits: Any) -> None:
    warehouse = Warehouse(path)
    longest, count, ends_at = 0.0, 0, time.monotonic() + 10
    while time.monotonic() < ends_at:
        asked = time.monotonic()
        with warehouse.connection() as connection:
            longest = max(longest, time.monotonic() - asked)
            if number:
                connection.execute(
                    "insert into zipchat.users (chat_id, user_id) select $n, i from range(9) r (i)",
                    {"n": number},
                )
            else:
                connection.execute("select count(*) from zipchat.users").fetchall()
        count += 1
        time.sleep(0.02)
    waits.put((count, longest))


def _print_peak(count: int, *, concurrency: int) -> None:
    chat = generate(seed=5, conversations=count, days=50, now=NOW, max_messages=5)
    for conversation in chat.conversations.values():
        for message in conversation.messages:
            message.message = (f"{message.id} {message.message} " * 50)[:1000]
    with tempfile.TemporaryDirectory() as folder, serve(Sandbox(chat=chat, limit=None)) as url:
        answers: Any = multiprocessing.get_context("spawn").Queue()
        started = time.monotonic()
        process = _start(_measured, Path(folder) / "zipchat.duckdb", url, concurrency, answers)
        before, after, stored = answers.get()
        process.join()
        seconds = time.monotonic() - started
    print(
        f"{stored[0]:7,} conversations, {stored[1]:7,} messages: {before} MB before, {after} MB at"
        f" the peak, {seconds:.0f} s",
        flush=True,
    )


def _measured(path: Path, url: str, concurrency: int, answers: Any) -> None:
    before = _peak_megabytes()
    _sync(None, Warehouse(path), base_url=url, concurrency=concurrency)
    answers.put((before, _peak_megabytes(), _stored(path)))


def _peak_megabytes() -> int:
    """Of this process's own memory: what `getrusage` tells on Linux includes its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        return int(line.split()[1]) // 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    main()
