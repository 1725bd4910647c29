"""Many callers, one `Window` and a sandbox under one clock that jumps from event to event.

Nothing sleeps and nothing runs in parallel, so a run of minutes takes milliseconds and is the same
each time. A call takes `there` seconds to arrive and its answer `back` seconds to return. In each
process, one thread at a time asks for a permit, as in `Budget`.

`KINDS` are the servers and surroundings that the window must cope with. The tests and
`benchmarks/budget.py` run the same ones.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx

from zipchat_dagster.client.budget import LONGEST_SLEEP, answer_of
from zipchat_dagster.client.window import Window
from zipchat_dagster.sandbox import BASE_PATH, DEFAULT_KEY, Chat, Sandbox

START = datetime(2026, 3, 4, 15, 30, tzinfo=UTC).timestamp()
PATH = f"{BASE_PATH}/chats/1/users/1"
HEADERS = {"authorization": f"Bearer {DEFAULT_KEY}"}


@dataclass
class Process:
    """Threads that take turns to ask for permits. `calls` is how many are left."""

    calls: int
    threads: int = 8
    reserve: float = 0.0
    starts_after: float = 0.0  # seconds
    dies_after: float | None = None  # seconds; its calls never arrive from then on
    ahead: float = 0.0  # seconds by which its clock is ahead of the store's
    misread: float = 0.0  # seconds by which its times are too late once converted to the store's
    is_asking: bool = False
    done_at: list[float] = field(default_factory=list)


class Simulation:
    """`options` are the sandbox's; `phase` is how many seconds into a minute everything starts."""

    def __init__(
        self,
        *processes: Process,
        phase: float = 0.0,
        there: float = 0.01,
        back: float = 0.01,
        jitter: float = 0.0,
        others: tuple[tuple[float, int], ...] = (),
        headers: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.now = START + phase
        self.started_at = self.now
        self.window = Window()
        self.there, self.back, self.jitter = there, back, jitter
        self.headers = headers
        self.random = random.Random(seed)
        self.refused_at: list[float] = []
        self.others: Counter[float] = Counter()  # by the start of the window that they spent from
        self.sandbox = Sandbox(
            chat=Chat(chat_id=1), clock=lambda: self.now, **{"limit": 120, "window": 60, **options}
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        # Called when one of our calls is the first after a window's end, before it counts.
        self.on_new_window: Callable[[], None] = lambda: None
        self._order = itertools.count()
        self._permits = itertools.count()
        self.processes = processes
        for process in processes:
            self.after(process.starts_after, partial(self._wake, process))
        for seconds, number in others:
            self.after(seconds, partial(self.spend, number))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def run(self, seconds: float = 3600.0) -> Simulation:
        """Until all calls are done, or for that long."""
        until = self.started_at + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        return self

    @property
    def windows(self) -> list[int]:
        """What was spent of each window, by us and others, except the first and the last."""
        used = sorted(self._used().items())
        return [number for _, number in used[1:-1]]

    @property
    def cycle(self) -> float:
        """How long it took to spend as much as a window allows, in lengths of a window: 1.0 if
        every window was spent and the next one started at once."""
        used = sorted(self._used().items())
        assert self.sandbox.limit is not None
        spent = sum(min(number, self.sandbox.limit) for _, number in used[:-1])
        return (used[-1][0] - used[0][0]) / (spent / self.sandbox.limit) / self.sandbox.window

    @property
    def done(self) -> int:
        return sum(len(process.done_at) for process in self.processes)

    def _used(self) -> Counter[float]:
        return Counter(dict(self.sandbox.stats()["windows"])) + self.others

    def spend(self, number: int) -> None:
        """Another program sends that many requests now."""
        self.sandbox.spend(number)
        self.others[self.sandbox.window_start] += number

    def set_clock(self, seconds: float) -> None:
        """Our clock is set ahead (or back), and nothing else changes."""
        self.now += seconds
        self.started_at += seconds
        self.sandbox.clock_offset -= seconds
        self._events = [(at + seconds, order, what) for at, order, what in self._events]

    def _is_dead(self, process: Process) -> bool:
        return process.dies_after is not None and self.now >= self.started_at + process.dies_after

    def _wake(self, process: Process) -> None:
        if not process.is_asking and process.threads and process.calls:
            process.is_asking = True
            self._ask(process)

    def _ask(self, process: Process) -> None:
        if self._is_dead(process):
            return
        permit = f"p{next(self._permits)}"
        wait = self.window.decide(permit, now=self.now, reserve=process.reserve)
        assert 0 <= wait <= max(self.window.length, 60) + 10, (wait, self.window)
        if wait:
            self.after(min(wait, LONGEST_SLEEP), lambda: self._ask(process))
            return
        process.is_asking = False
        process.threads -= 1
        process.calls -= 1
        sent_at = self.now
        self.after(self._travel(self.there), lambda: self._arrive(process, permit, sent_at))
        self._wake(process)

    def _travel(self, seconds: float) -> float:
        return seconds + self.random.random() * self.jitter

    def _arrive(self, process: Process, permit: str, sent_at: float) -> None:
        if self._is_dead(process):
            return
        before = self.sandbox.window_start
        self.sandbox.spend(0)
        if self.sandbox.window_start != before:
            self.on_new_window()
        answer = self.sandbox.handle("GET", PATH, headers=HEADERS)
        if answer.status == 429:
            self.refused_at.append(self.now - self.started_at)
        response = httpx.Response(answer.status, headers=self.headers(answer.headers))
        back = self._travel(self.back + answer.latency)
        self.after(back, lambda: self._settle(process, permit, sent_at, response))

    def _settle(
        self, process: Process, permit: str, sent_at: float, response: httpx.Response
    ) -> None:
        if self._is_dead(process):
            return
        answer = answer_of(response, sent_at + process.ahead, self.now + process.ahead)
        self.window.settle(permit, answer.shifted(process.misread - process.ahead))
        process.threads += 1
        if response.status_code == 429:
            process.calls += 1
        else:
            process.done_at.append(self.now - self.started_at)
        self._wake(process)


# Every kind of server and surroundings. Each makes a run from how far into a minute it starts.

Kind = Callable[..., Simulation]  # (phase, window) → a run that is ready to start
WINDOWS = 7  # of calls in each


def _plain(phase: float, window: int, *, threads: int = 8, **options: Any) -> Simulation:
    options = {"latency": 0.1, "clock_offset": -217.3, **options}
    calls = WINDOWS * options.get("limit", 120)
    return Simulation(Process(calls, threads=threads), phase=phase, window=window, **options)


def _strangers_first(phase: float, window: int, **options: Any) -> Simulation:
    """Other programs open every window, so that its beginning is not known."""
    run = _plain(phase, window, **options)
    run.on_new_window = lambda: run.spend(37)
    return run


def _backfill(phase: float, window: int, **options: Any) -> Simulation:
    return Simulation(
        Process(WINDOWS * 120, reserve=0.25), phase=phase, window=window, latency=0.1, **options
    )


def _apart(phase: float, window: int, **options: Any) -> Simulation:
    """Three machines whose clocks are a minute apart and share a store."""
    machines = [(-60.0, -0.01), (0.0, 0.0), (60.0, 0.03)]
    processes = [Process(WINDOWS * 40, ahead=a, misread=m) for a, m in machines]
    return Simulation(*processes, phase=phase, window=window, latency=0.1, **options)


def _killed(phase: float, window: int, **options: Any) -> Simulation:
    """One of two processes is killed with its calls under way."""
    victim = Process(10_000, threads=20, dies_after=1.3 * window + 0.05)
    survivor = Process(WINDOWS * 120)
    return Simulation(victim, survivor, phase=phase, window=window, latency=0.3, **options)


def _clock_set(phase: float, window: int, *, seconds: float, **options: Any) -> Simulation:
    run = _plain(phase, window, **options)
    run.after(3.3 * window, lambda: run.set_clock(seconds))
    return run


def _without(*names: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {k: v for k, v in headers.items() if k not in names}


KINDS: dict[str, Kind] = {
    f"{alignment}, {form}, {rounding}": partial(
        _plain, window_alignment=alignment, reset_format=form, reset_rounding=rounding
    )
    for alignment in ("clock", "first_request")
    for form in ("unix", "seconds")
    for rounding in ("exact", "ceil", "floor")
}
_SURROUNDINGS: dict[str, Kind] = {
    "slow answers": partial(_plain, latency=1.5, threads=128),
    "no headers": partial(_plain, rate_limit_headers=False),
    "no Date": partial(_plain, headers=_without("Date")),
    "strangers open windows": _strangers_first,
    "backfill with reserve": _backfill,
    "process killed": _killed,
    "clocks apart": _apart,
    "clock set 400 s back": partial(_clock_set, seconds=-400.0),
    "clock set 2 s back": partial(_clock_set, seconds=-2.0),
    "clock set 2 s ahead": partial(_clock_set, seconds=2.0),
    "clock set 400 s ahead": partial(_clock_set, seconds=400.0),
}
KINDS |= {
    f"{alignment}, {name}": partial(start, window_alignment=alignment)
    for alignment in ("clock", "first_request")
    for name, start in _SURROUNDINGS.items()
}
