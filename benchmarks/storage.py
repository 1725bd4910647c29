"""Sections of `make bench` about the database file: waiting for it, and memory."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from benchmarks.common import (
    NOW,
    count_stored,
    file_tables,
    peak_megabytes,
    start_process,
    sync_file,
)
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse


def file_lock() -> None:
    """Eight writers and a reader on one database file: longest wait for it, 10 s"""
    waits: Any = multiprocessing.get_context("spawn").Queue()
    with file_tables() as tables:
        with tables.transaction():
            pass
        processes = [start_process(_use_file, tables.path, number, waits) for number in range(9)]
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
    answers: Any = multiprocessing.get_context("spawn").Queue()
    with file_tables() as tables, serve(Sandbox(chat=chat, limit=None)) as url:
        started = time.monotonic()
        process = start_process(_measured, url, tables.path, concurrency, answers)
        before, after = answers.get()
        process.join()
        seconds = time.monotonic() - started
        stored = count_stored(tables.path)
    print(
        f"{stored[0]:7,} conversations, {stored[1]:7,} messages: {before} MB before, {after} MB at"
        f" the peak, {seconds:.0f} s",
        flush=True,
    )


def _measured(url: str, path: Path, concurrency: int, answers: Any) -> None:
    before = peak_megabytes()
    sync_file(url, path, concurrency=concurrency)
    answers.put((before, peak_megabytes()))
