"""Sections of `make bench` about syncing: what it misses, costs and waits for."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from zipchat_dagster.client import ListingUnsettledError, ZipchatClient
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse

NOW = datetime.now(UTC).replace(microsecond=0)
START = (NOW - timedelta(days=60)).replace(hour=0, minute=0, second=0)
END = START + timedelta(days=62)
LOG = logging.getLogger("zipchat_dagster")


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
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb")
        messages = sandbox.truth()["messages"].values()
        least = 6 + 1 + sum(max(1, math.ceil(len(found) / 200)) for found in messages)
        first = sync(sandbox, warehouse)
        print(f"first sync        {first:5}   least possible {least}, ratio {first / least:.3f}")
        print(f"nothing changed   {sync(sandbox, warehouse):5}")
        day = START + timedelta(days=45)
        print(f"one old day again {sync(sandbox, warehouse, day, day + timedelta(days=1)):5}")
        for conversation_id in list(chat.conversations)[:25]:
            chat.add_message(conversation_id, at=sandbox.now())
        print(f"25 changed        {sync(sandbox, warehouse):5}")


def windows() -> None:
    """600 conversations over HTTP, 120 requests in 5 seconds: seconds, and against whole windows"""
    for latency in (0.0, 1.5):
        for pagination in ("meta", "none"):
            chat = generate(seed=3, conversations=600, days=20, now=NOW, max_messages=150)
            sandbox = Sandbox(
                chat=chat, limit=120, window=5, latency=latency, pagination=pagination
            )
            with tempfile.TemporaryDirectory() as folder, serve(sandbox) as url:
                warehouse = Warehouse(Path(folder) / "warehouse.duckdb")
                started = time.monotonic()
                requests = sync(sandbox, warehouse, base_url=url, budget=Path(folder) / "b.sqlite")
                seconds = time.monotonic() - started
            ideal = math.ceil(requests / 120) * 5
            stats = sandbox.stats()
            full = [spent for _, spent in stats["windows"][1:-1]]
            print(
                f"latency {latency} s, pagination {pagination:5}: {requests} requests,"
                f" {seconds:.1f} s, {seconds / ideal:.2f} × {ideal} s; refused {stats['refused']};"
                f" windows {full}"
            )


def faults() -> None:
    """600 conversations over HTTP, one request in ten fails: requests and seconds, against none"""
    for limit in (120, None):
        measured = []
        for fault_rate in (0.0, 0.1):
            chat = generate(seed=3, conversations=600, days=20, now=NOW, max_messages=150)
            sandbox = Sandbox(chat=chat, limit=limit, window=10, fault_rate=fault_rate, seed=3)
            with tempfile.TemporaryDirectory() as folder, serve(sandbox) as url:
                path = Path(folder) / "warehouse.duckdb"
                started = time.monotonic()
                requests = sync(sandbox, Warehouse(path), base_url=url, budget=path.with_name("b"))
                measured.append((requests, time.monotonic() - started))
                stored, truth = count_stored(path), sandbox.truth()["messages"]
                assert stored == (len(truth), sum(map(len, truth.values())))
        (requests, seconds), (more, longer) = measured
        print(
            f"{f'{limit} requests in 10 s' if limit else 'no rate limit':21} {requests} requests in"
            f" {seconds:.1f} s, with faults {more} in {longer:.1f} s:"
            f" {more / requests:.3f} × the requests, {longer / seconds:.2f} × the time"
        )


def live() -> None:
    """A live run of 8 changed conversations while a backfill runs; 120 requests in 10 seconds"""
    for reserve in (0.25, 0.0):
        chat = generate(seed=3, conversations=1500, days=50, now=NOW, max_messages=20)
        sandbox = Sandbox(chat=chat, limit=120, window=10)
        with tempfile.TemporaryDirectory() as folder, serve(sandbox) as url:
            path, budget = Path(folder) / "warehouse.duckdb", Path(folder) / "b.sqlite"
            backfill = start_process(_sync_process, path, url, budget, reserve)
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
                with client_of(None, url, budget) as client:
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
        uninterrupted = sync(whole, Warehouse(Path(folder) / "whole.duckdb"))
        for attempt in range(3):
            sandbox = Sandbox(chat=chat, limit=None)
            path = Path(folder) / f"killed{attempt}.duckdb"
            with serve(sandbox) as url:
                process = start_process(_sync_process, path, url)
                while sandbox.stats()["requests"] < 150 * (attempt + 1):
                    time.sleep(0.005)
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
                at = sandbox.stats()["requests"]
                process = start_process(_sync_process, path, url)
                process.join()
            requests = sandbox.stats()["requests"]
            stored = count_stored(path)
            truth = sandbox.truth()["messages"]
            print(
                f"killed after {at:4}: {requests} requests, ratio {requests / uninterrupted:.3f};"
                f" stored {stored}, true {(len(truth), sum(map(len, truth.values())))}"
            )


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
    with client_of(sandbox) as client:
        found = listed(client)
        return len((before & set(chat.conversations)) - gone - found), client.requests


def _page_loop(client: ZipchatClient) -> set[Any]:
    """What most connectors do."""
    found: set[Any] = set()
    for number in range(1, 100):
        page = client.get_conversations_page(number)
        found.update(row["id"] for row in page.rows)
        if len(page.rows) < 100:
            break
    return found


def client_of(
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
        budget=budget,
        reserve=reserve,
        concurrency=concurrency,
    )


def sync(
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
    with client_of(sandbox, base_url, budget, reserve, concurrency) as client:
        sync_users(client, warehouse)
        sync_conversations(client, warehouse, since=since, refresh=False, log=LOG)
        sync_messages(client, warehouse, since=since, until=until, days=[], refresh=False, log=LOG)
        return client.requests


def start_process(
    target: Callable[..., None], *arguments: Any
) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def _sync_process(path: Path, url: str, budget: Path | None = None, reserve: float = 0.0) -> None:
    sync(None, Warehouse(path), base_url=url, budget=budget, reserve=reserve)


def count_stored(path: Path) -> tuple[int, int]:
    with Warehouse(path).connection() as connection:
        (conversations,) = connection.execute(
            "select count(*) from zipchat.raw_conversations"
        ).fetchall()
        (messages,) = connection.execute("select count(*) from zipchat.raw_messages").fetchall()
    return conversations[0], messages[0]
