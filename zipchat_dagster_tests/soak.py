"""Hundreds of syncs of a chat that keeps changing, while calls fail and processes are killed.

Each run is a process's sync of what has changed, from users to metrics, as the assets do it. Some
runs are made by a process of their own, which is killed at some moment. Between runs, minutes or
hours pass by the clocks of the chat and of the processes, without any waiting.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

from zipchat_dagster.client import Clock, ZipchatClient, ZipchatError
from zipchat_dagster.sandbox import DEFAULT_KEY, Fault, Sandbox, generate, serve
from zipchat_dagster.sync import sync_conversations, sync_messages, sync_users
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules
from zipchat_dagster_tests.conftest import LOG, NOW, Project, derive_all, midnight

DAYS: Final = 20  # of the chat before the first run
BEGIN: Final = midnight(NOW - timedelta(days=DAYS))
RULES: Final = Rules(response_target_seconds=3600, quiet_hours=20)
KILLED: Final = 0.15  # share of the runs
MOST: Final = 1_000
# One of five requests fails. Failures that end a sync at once are added now and then.
FAULTS: Final[dict[str, Any]] = {
    "fault_rate": 0.2,
    "fault_kinds": (
        *("500", "503", "disconnect", "reset", "closed", "truncated", "not_json"),
        *("slow", "timeout"),
    ),
    "slow_seconds": 0.1,
    "mutate_every": 3,
}
TIMEOUT: Final = 1.0  # seconds

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["zipchat_dagster_tests.soak"])


@dataclass(frozen=True)
class Order:
    """One sync: of the days from `since` on, by a clock that is `ahead` seconds of ours."""

    since: datetime
    ahead: float
    relist_since: datetime | None = None


@dataclass
class Figures:
    """What happened. `sizes` has (runs, bytes of the database file, bytes of memory of the process
    that is never killed) from time to time."""

    runs: int = 0
    failed: int = 0
    killed: int = 0
    requests: int = 0
    faults: int = 0
    refused: int = 0
    changes: int = 0
    seconds: float = 0.0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)


class Ahead(Clock):
    """A clock that is ahead of this machine's, and on which pauses before retries are short."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time(self) -> float:
        return time.time() + self.seconds

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))


class Soak(AbstractContextManager["Soak"]):
    """A chat, what is stored of it, and the process that syncs it."""

    def __init__(self, folder: Path, *, conversations: int, seed: int = 1) -> None:
        self.figures = Figures()
        self._folder = folder
        self._random = Random(seed)
        self._clock = Ahead(0.0)
        self._synced_at = BEGIN
        chat = generate(seed=seed, conversations=conversations, days=DAYS, now=NOW, max_messages=12)
        self.sandbox = Sandbox(
            chat=chat, limit=120, window=1, seed=seed, clock=self._clock.time, pagination="meta"
        )
        self.project = Project(self.sandbox, Warehouse(folder / "warehouse.duckdb"))
        self._server = serve(self.sandbox)
        self._url = self._server.__enter__()
        self._process = Process(self._url, folder)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._server.__exit__(None, None, None)

    def run(self, runs: int) -> None:
        """Sync this often, while calls fail and the chat changes."""
        began = time.monotonic()
        usual = 1.0  # seconds that a run takes
        for number in range(runs):
            self._let_time_pass()
            order = Order(midnight(self._synced_at), self._clock.seconds, self._relist_since())
            if self._random.random() < KILLED:
                self._run_and_kill(order, after=self._random.uniform(0.0, 1.2 * usual))
            else:
                started, now = time.monotonic(), self.sandbox.now()
                memory, error = self._process.run(order)
                usual = time.monotonic() - started
                if error:
                    self.figures.failed += 1
                else:
                    self._synced_at = now
                if number % max(1, runs // 5) == runs // 10:
                    self._measure(memory)
            self.figures.runs += 1
        self.figures.seconds += time.monotonic() - began

    def finish(self) -> None:
        """A last run without faults, which lists everything again, as the daily one does for the
        last days."""
        stats = self.sandbox.stats()
        self.figures.requests, self.figures.faults = stats["requests"], stats["faults"]
        self.figures.refused = stats["refused"]
        self.sandbox.clear_faults()
        self.sandbox.set(fault_rate=0.0, mutate_every=0)
        # What was read and then deleted in the second in which a listing begins, only the next one
        # looks for.
        self._clock.seconds += 2
        memory, error = self._process.run(Order(BEGIN, self._clock.seconds, BEGIN))
        assert not error, error
        self._measure(memory)

    def _let_time_pass(self) -> None:
        """Minutes or hours, in which the chat changes. Then some calls fail."""
        random, sandbox = self._random, self.sandbox
        self._clock.seconds += random.choice((300, 900, 3600, 4 * 3600))
        sandbox.set(**FAULTS)
        sandbox.clear_faults()
        changes = random.randrange(20)
        sandbox.change(changes)
        self.figures.changes += changes
        with sandbox.lock:
            sandbox.chat.change(random, at=sandbox.now(), kinds=["restore_conversation"])
        match random.randrange(10):
            case 0:
                sandbox.add_fault(Fault("403", after=random.randrange(30)))  # a revoked key
            case 1 | 2:
                sandbox.add_fault(Fault("404", endpoint="show", after=random.randrange(10)))

    def _relist_since(self) -> datetime | None:
        """In some runs, as the daily one does."""
        return self.sandbox.now() - timedelta(days=7) if self._random.random() < 0.2 else None

    def _run_and_kill(self, order: Order, *, after: float) -> None:
        victim = Process(self._url, self._folder)
        victim.start(order)
        if victim.has_ended(within=after):
            victim.result()
        else:
            self.figures.killed += 1
        victim.kill()

    def _measure(self, memory: int) -> None:
        size = self.project.warehouse.path.stat().st_size
        self.figures.sizes.append((self.figures.runs, size, memory))


class Process:
    """A process that syncs on demand."""

    def __init__(self, url: str, folder: Path) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_serve_orders, args=(theirs, url, folder), daemon=True
        )
        self._process.start()
        theirs.close()

    def start(self, order: Order) -> None:
        self._pipe.send(order)

    def has_ended(self, *, within: float) -> bool:
        """Whether the sync ends within this many seconds."""
        return self._pipe.poll(within)

    def result(self) -> tuple[int, str]:
        """(its memory in bytes, why the sync failed). EOFError: something unexpected ended it."""
        memory, error = self._pipe.recv()
        return memory, error

    def run(self, order: Order) -> tuple[int, str]:
        """Sync, and return its result."""
        self.start(order)
        return self.result()

    def kill(self) -> None:
        """With SIGKILL."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _serve_orders(pipe: Connection, url: str, folder: Path) -> None:
    LOG.setLevel(logging.ERROR)
    warehouse = Warehouse(folder / "warehouse.duckdb")
    while True:
        order: Order = pipe.recv()
        error = ""
        try:
            _sync(order, url, warehouse)
        except ZipchatError as failure:  # anything else ends the process, and with it the test
            error = str(failure)
        pipe.send((_memory(), error))


def _sync(order: Order, url: str, warehouse: Warehouse) -> None:
    with ZipchatClient(
        api_key=DEFAULT_KEY,
        chat_id=1,
        base_url=url,
        budget=warehouse.path.with_name("budget.sqlite"),
        clock=Ahead(order.ahead),
        timeout=TIMEOUT,
    ) as client:
        now = client.server_time()
        sync_users(client, warehouse)
        sync_conversations(
            client,
            warehouse,
            since=order.since,
            refresh=False,
            log=LOG,
            most_states=30 if order.relist_since != BEGIN else MOST,
            relist_since=order.relist_since,
        )
        sync_messages(
            client,
            warehouse,
            since=order.since,
            until=midnight(now) + timedelta(days=1),
            days=[],
            refresh=False,
            log=LOG,
            most_retried=MOST,
        )
    derive(warehouse, now)


def derive(warehouse: Warehouse, now: datetime, *, from_scratch: bool = False) -> None:
    """Bring facts and metrics in line with what is stored."""
    today = f"{now:%Y-%m-%d}"
    derive_all(warehouse, days=[today], now=now, rules=RULES, from_scratch=from_scratch)


def _memory() -> int:
    """Of this process, in bytes; 0 where there is no /proc."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * 4096 if statistics.exists() else 0
