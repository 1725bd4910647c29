"""Sections of `make bench` about syncing: what it misses, costs and waits for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from benchmarks.common import (
    NOW,
    START,
    client_of,
    count_stored,
    count_true,
    file_tables,
    served_sync,
    start_process,
    sync,
    sync_file,
)
from zipchat_dagster.client import ListingUnsettledError, ZipchatClient
from zipchat_dagster.sandbox import Sandbox, generate, serve


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
    messages = sandbox.truth()["messages"].values()
    least = 6 + 1 + sum(max(1, math.ceil(len(found) / 200)) for found in messages)
    with file_tables() as tables:
        first = sync(sandbox, tables).requests
        print(f"first sync        {first:5}   least possible {least}, ratio {first / least:.3f}")
        print(f"nothing changed   {sync(sandbox, tables).requests:5}")
        day = START + timedelta(days=45)
        again = sync(sandbox, tables, day, day + timedelta(days=1))
        print(f"one old day again {again.requests:5}")
        for conversation_id in list(chat.conversations)[:25]:
            chat.add_message(conversation_id, at=sandbox.now())
        print(f"25 changed        {sync(sandbox, tables).requests:5}")


def windows() -> None:
    """600 conversations over HTTP, 120 requests in 5 seconds: seconds, and against whole windows"""
    for latency in (0.0, 1.5):
        for pagination in ("meta", "none"):
            chat = generate(seed=3, conversations=600, days=20, now=NOW, max_messages=150)
            sandbox = Sandbox(
                chat=chat, limit=120, window=5, latency=latency, pagination=pagination
            )
            requests, seconds = served_sync(sandbox)
            ideal = math.ceil(requests / 120) * 5
            print(
                f"latency {latency} s, pagination {pagination:5}: {requests} requests,"
                f" {seconds:.1f} s, {seconds / ideal:.2f} × {ideal} s; {_spent(sandbox)}"
            )


def faults() -> None:
    """600 conversations over HTTP, one request in ten fails: requests and seconds, against none"""
    for limit in (120, None):
        measured = []
        for fault_rate in (0.0, 0.1):
            chat = generate(seed=3, conversations=600, days=20, now=NOW, max_messages=150)
            sandbox = Sandbox(chat=chat, limit=limit, window=10, fault_rate=fault_rate, seed=3)
            measured.append(served_sync(sandbox))
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
        with file_tables() as tables, serve(sandbox) as url:
            budget = tables.path.with_name("budget.sqlite")
            backfill = start_process(sync_file, url, tables.path, budget=budget, reserve=reserve)
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
                client = sync(url, tables, today, today + timedelta(days=1), budget=budget)
                seconds.append(round(time.monotonic() - started, 1))
                waited.append(round(client.waited_seconds, 1))
                requests.append(client.requests)
            is_running = backfill.is_alive()
            backfill.kill()
            backfill.join()
        print(
            f"reserve {reserve}: live runs took {seconds} s, of which they waited {waited} s, for"
            f" {requests} requests; {_spent(sandbox)}; backfill still running: {is_running}"
        )


def kill() -> None:
    """kill -9 at a random moment, then again: requests of all runs against one uninterrupted"""
    chat = generate(seed=4, conversations=600, days=30, now=NOW - timedelta(hours=1))
    with file_tables() as tables:
        uninterrupted = sync(Sandbox(chat=chat, limit=None), tables).requests
    for attempt in range(3):
        sandbox = Sandbox(chat=chat, limit=None)
        with file_tables() as tables, serve(sandbox) as url:
            process = start_process(sync_file, url, tables.path)
            while sandbox.stats()["requests"] < 150 * (attempt + 1):
                time.sleep(0.005)
            process.kill()
            process.join()
            at = sandbox.stats()["requests"]
            sync(url, tables)
            stored = count_stored(tables.path)
        requests = sandbox.stats()["requests"]
        print(
            f"killed after {at:4}: {requests} requests, ratio {requests / uninterrupted:.3f};"
            f" stored {stored}, true {count_true(sandbox)}"
        )


def _spent(sandbox: Sandbox) -> str:
    stats = sandbox.stats()
    full = [spent for _, spent in stats["windows"][1:-1]]
    return f"refused {stats['refused']}; windows {full}"


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
