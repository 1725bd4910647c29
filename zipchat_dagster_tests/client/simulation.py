"""Many callers, one `Window` and a sandbox under one clock that jumps from event to event.

Nothing sleeps and nothing runs in parallel, so that a run of minutes takes milliseconds and comes
out the same each time. Between a permit and the call's arrival, and between that and its answer,
pass `there` and `back` seconds; in a process one thread at a time asks for a permit, as in
`Budget`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from zipchat_dagster.client.budget import LONGEST_SLEEP
from zipchat_dagster.client.window import Answer, Window
from zipchat_dagster.sandbox import BASE_PATH, DEFAULT_KEY, Chat, Sandbox

START = datetime(2026, 3, 4, 15, 30, tzinfo=UTC).timestamp()
PATH = f"{BASE_PATH}/chats/1/users/1"
HEADERS = {"authorization": f"Bearer {DEFAULT_KEY}"}


@dataclass
class Process:
    """Threads that share a turn to ask. `calls` is what is left to do."""

    calls: int
    threads: int = 8
    reserve: float = 0.0
    starts_after: float = 0.0  # seconds
    dies_after: float | None = None  # seconds; its calls never arrive from then on
    is_asking: bool = False
    done_at: list[float] = field(default_factory=list)


class Simulation:
    """`options` are the sandbox's; `phase` is how far into a window of the clock all begins."""

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
            chat=Chat(chat_id=1), clock=lambda: self.now, **{"limit": 120, "window": 5, **options}
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        # Called when a call of ours is the first after a window's end, before it counts.
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
        """Until all calls are done, or so long."""
        until = self.started_at + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        return self

    @property
    def windows(self) -> list[int]:
        """What was spent of each window, by us and others, but for the first and the last."""
        used = sorted(self._used().items())
        return [number for _, number in used[1:-1]]

    @property
    def cycle(self) -> float:
        """Seconds from the beginning of a window to that of the next, on average."""
        starts = sorted(self._used())
        return (starts[-1] - starts[0]) / (len(starts) - 1)

    @property
    def done(self) -> int:
        return sum(len(process.done_at) for process in self.processes)

    def _used(self) -> Counter[float]:
        return Counter(dict(self.sandbox.stats()["windows"])) + self.others

    def spend(self, number: int) -> None:
        """Another program sends that many requests now."""
        self.sandbox.spend(number)
        self.others[self.sandbox.window_start] += number

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
        assert 0 <= wait <= 2 * self.window.length
        if wait:
            self.after(min(wait, LONGEST_SLEEP), lambda: self._ask(process))
            return
        process.is_asking = False
        process.threads -= 1
        process.calls -= 1
        self.after(self._travel(self.there), lambda: self._arrive(process, permit, sent_at))
        sent_at = self.now
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
        back = self._travel(self.back + answer.latency)
        headers = self.headers(answer.headers)
        self.after(back, lambda: self._settle(process, permit, sent_at, answer.status, headers))

    def _settle(
        self, process: Process, permit: str, sent_at: float, status: int, headers: dict[str, str]
    ) -> None:
        if self._is_dead(process):
            return

        def number(name: str) -> float | None:
            return float(headers[name]) if name in headers else None

        limit, remaining = number("X-RateLimit-Limit"), number("X-RateLimit-Remaining")
        self.window.settle(
            permit,
            Answer(
                sent_at,
                self.now,
                status=status,
                date=parsedate_to_datetime(headers["Date"]).timestamp()
                if "Date" in headers
                else None,
                limit=None if limit is None else int(limit),
                remaining=None if remaining is None else int(remaining),
                reset=number("X-RateLimit-Reset"),
                retry_after=number("Retry-After"),
            ),
        )
        process.threads += 1
        if status == 429:
            process.calls += 1
        else:
            process.done_at.append(self.now - self.started_at)
        self._wake(process)
