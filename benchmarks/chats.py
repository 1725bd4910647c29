"""Section of `make bench` about several chats: their hourly runs, side by side."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg

from benchmarks.common import NOW, peak_megabytes
from zipchat_dagster.sandbox import Fault, Request, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT
from zipchat_dagster.warehouse import Warehouse

AT_ONCE = 10  # as in dagster.yaml
CHANGED = 60  # of the 300 conversations of each chat
LIMIT, WINDOW = 24, 12.0  # the documented rate, in shorter windows
REFUSED, DOWN, OTHER_WINDOW = "shop_02", "shop_03", "shop_04"
NAMES = [f"shop_{number:02}" for number in range(1, 21)]


@dataclass(frozen=True)
class Run:
    """What a run came to, and what its process took from its start to its end."""

    is_success: bool
    seconds: float
    cpu_seconds: float
    megabytes: int


def chats() -> None:
    """Twenty chats: an hourly run of all, each a process of its own, ten at once"""
    sandboxes = {
        name: Sandbox(
            chat=generate(
                seed=number, conversations=300, days=30, now=NOW, chat_id=number, max_messages=20
            ),
            limit=None,
            key=f"zc-{name}",
        )
        for number, name in enumerate(NAMES, 1)
    }
    with tempfile.TemporaryDirectory() as folder, serve(*sandboxes.values()) as url:
        home = Path(folder)
        _configure(home, url, sandboxes)
        _sync("first sync", first=30)
        began: dict[str, float] = {}
        for name, sandbox in sandboxes.items():
            _an_hour_later(name, sandbox, began)
        runs = _sync("hourly run", first=1)
        _print(home, sandboxes, runs, began)


def _configure(home: Path, url: str, sandboxes: Mapping[str, Sandbox]) -> None:
    """The file of chats and the settings of the processes."""
    entries = [
        f"- {{name: {name}, chat_id: {sandbox.chat.chat_id}, api_key_env: {name.upper()}_KEY}}"
        for name, sandbox in sandboxes.items()
    ]
    (home / "chats.yaml").write_text("\n".join(["chats:", *entries]))
    shutil.copy(PROJECT / "dagster.yaml", home)
    os.environ |= {f"{name.upper()}_KEY": sandbox.key for name, sandbox in sandboxes.items()}
    os.environ |= {
        "DAGSTER_HOME": str(home),
        "ZIPCHAT_CHATS": str(home / "chats.yaml"),
        "ZIPCHAT_BASE_URL": url,
        "ZIPCHAT_DATABASE": str(home / "warehouse.duckdb"),
        "ZIPCHAT_START_DATE": f"{NOW - timedelta(days=30):%Y-%m-%d}",
    }
    with dg.DagsterInstance.get():
        pass  # Dagster creates its files, which it cannot do several times at once


def _an_hour_later(name: str, sandbox: Sandbox, began: dict[str, float]) -> None:
    """Messages in some conversations, a rate limit, and for two chats a trouble.

    `began` gets the time at which the reading of conversations begins.
    """

    def note(sandbox: Sandbox, request: Request) -> None:
        if request.endpoint == "show":
            began.setdefault(name, sandbox.server_time())

    sandbox.before_request = note
    with sandbox.lock:
        for conversation_id in list(sandbox.chat.conversations)[:CHANGED]:
            sandbox.chat.add_message(conversation_id, at=sandbox.now())
    sandbox.limit, sandbox.window = (20, 5.0) if name == OTHER_WINDOW else (LIMIT, WINDOW)
    if name == REFUSED:
        os.environ[f"{name.upper()}_KEY"] = "zc-revoked"
    if name == DOWN:
        sandbox.faults.append(Fault("500", times=None))
    sandbox.reset_stats()


def _sync(what: str, *, first: int) -> dict[str, Run]:
    """A run of each chat, of the days from `first` days ago on."""
    started = time.monotonic()
    pool = multiprocessing.get_context("spawn").Pool(AT_ONCE, maxtasksperchild=1)
    with pool:
        runs = dict(zip(NAMES, pool.starmap(_run, [(n, first) for n in NAMES], 1), strict=True))
    print(f"{what} of {len(runs)} chats: {time.monotonic() - started:.0f} s", flush=True)
    return runs


def _run(name: str, first: int) -> Run:
    started = time.monotonic()
    from zipchat_dagster.definitions import defs

    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(f"{name}_sync_job").execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={
                "dagster/asset_partition_range_start": f"{NOW - timedelta(days=first):%Y-%m-%d}",
                "dagster/asset_partition_range_end": f"{NOW:%Y-%m-%d}",
            },
            raise_on_error=False,
        )
    seconds = time.monotonic() - started
    return Run(result.success, seconds, time.process_time(), peak_megabytes())


def _print(
    home: Path,
    sandboxes: Mapping[str, Sandbox],
    runs: Mapping[str, Run],
    began: Mapping[str, float],
) -> None:
    tables = Warehouse(home / "warehouse.duckdb")
    columns = "run succeeded, exact, requests, refused, of full windows, seconds, CPU s, peak MB"
    print(f"{'chat':8}" + "".join(f"{column:>17}" for column in columns.split(", ")))
    for name, sandbox in sandboxes.items():
        run, stats = runs[name], sandbox.stats()
        # The reading begins within a window, and ends within the last one.
        full = [spent for at, spent in stats["windows"][:-1] if at > began.get(name, math.inf)]
        used = f"{sum(full) / len(full) / (sandbox.limit or 1):.0%}" if full else "–"
        print(
            f"{name:8}{_words(run.is_success):>17}{_words(_is_exact(tables, sandbox)):>17}"
            f"{stats['requests']:17}{stats['refused']:17}{used:>17}"
            f"{run.seconds:17.1f}{run.cpu_seconds:17.1f}{run.megabytes:17}"
        )


def _words(is_true: bool) -> str:
    return "yes" if is_true else "no"


def _is_exact(tables: Warehouse, sandbox: Sandbox) -> bool:
    """Whether exactly the chat's messages are stored, and facts of all its conversations."""
    truth = sandbox.truth()
    expected = {m["id"]: m["message"] for found in truth["messages"].values() for m in found}
    chat = {"chat_id": sandbox.chat.chat_id}
    with tables.connection() as connection:
        stored = connection.execute(
            "select message_id, message from zipchat.raw_messages where chat_id = $chat_id", chat
        ).fetchall()
        facts = connection.execute(
            "select conversation_id, customer_messages + ai_messages + human_messages"
            " from zipchat.conversation_facts where chat_id = $chat_id",
            chat,
        ).fetchall()
    counts = {conversation: len(found) for conversation, found in truth["messages"].items()}
    return len(stored) == len(expected) and dict(stored) == expected and dict(facts) == counts
