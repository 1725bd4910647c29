"""Sections of `make bench` about the database file: waiting for it, and memory."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sync import NOW, count_stored, start_process, sync
from zipchat_dagster.sandbox import Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse


def file_lock() -> None:
    """Eight writers and a reader on one database file: longest wait for it, 10 s"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warehouse.duckdb"
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
        process = start_process(
            _measured, Path(folder) / "warehouse.duckdb", url, concurrency, answers
        )
        before, after, stored = answers.get()
        process.join()
        seconds = time.monotonic() - started
    print(
        f"{stored[0]:7,} conversations, {stored[1]:7,} messages: {before} MB before, {after} MB at"
        f" the peak, {seconds:.0f} s",
        flush=True,
    )


def _measured(path: Path, url: str, concurrency: int, answers: Any) -> None:
    before = peak_megabytes()
    sync(None, Warehouse(path), base_url=url, concurrency=concurrency)
    answers.put((before, peak_megabytes(), count_stored(path)))


def peak_megabytes() -> int:
    """Of this process alone. On Linux, what `getrusage` reports includes its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        return int(line.split()[1]) // 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
