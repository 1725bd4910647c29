"""What the request budget costs, and how much of it is used: `python -m benchmarks.budget`.

First table: permits taken and settled, through the file, without a network. With the address of a
PostgreSQL database as its argument, through that, and there is no second table.

Second table: 840 calls in windows of 120 per minute, simulated (nothing sleeps) for every kind of
server and surroundings, each started at eleven moments within a minute. About two minutes in all.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import mean

from zipchat_dagster.client.budget import Budget
from zipchat_dagster.client.window import Answer
from zipchat_dagster_tests.client.simulation import KINDS

SECONDS = 2.0
LENGTH = 60  # seconds: the documented window
STARTS = 11
KEY = "zc-benchmark"


def overhead(database: str | None = None) -> None:
    """The request budget by itself"""
    print_overhead(database)
    if not database:
        print()
        print_windows()


def print_overhead(database: str | None = None) -> None:
    print(f"{'callers':<24}{'permits per second':>20}{'CPU per permit':>18}")
    for name, processes, threads in (
        ("1 thread", 1, 1),
        ("8 threads", 1, 8),
        ("4 processes", 4, 1),
        ("4 processes, 8 threads", 4, 8),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = database or str(Path(folder) / "budget.sqlite")
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                # The first round starts the processes.
                pool.starmap(spend, [(path, threads, 0.1)] * processes, chunksize=1)
                results = pool.starmap(spend, [(path, threads)] * processes, chunksize=1)
        permits = sum(number for number, _ in results)
        cpu = sum(seconds for _, seconds in results) / permits
        print(f"{name:<24}{permits / SECONDS:>20,.0f}{cpu * 1e6:>15,.0f} µs")


def spend(path: str, threads: int, seconds: float = SECONDS) -> tuple[int, float]:
    """Permits, and seconds of CPU, with the responses of a server whose limit is far away."""
    budget = Budget(KEY, database=path)
    counts = [0] * threads
    until = time.monotonic() + seconds
    cpu = time.process_time()

    def run(number: int) -> None:
        while time.monotonic() < until:
            permit = budget.acquire()
            now = time.time()
            reset = now // 3600 * 3600 + 3600
            answer = Answer(
                now, now, 200, date=now // 1, limit=10**7, remaining=10**7 - 1, reset=reset
            )
            budget.settle(permit, answer)
            counts[number] += 1

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cpu = time.process_time() - cpu
    budget.close()
    return sum(counts), cpu


def print_windows() -> None:
    """`cycle`: how long it takes to spend what one window allows, in lengths of a window."""
    columns = ("mean cycle", "worst cycle", "refused")
    print(f"{'server and surroundings':<40}" + "".join(f"{name:>13}" for name in columns))
    cycles: list[float] = []
    for name, start in KINDS.items():
        runs = [start(0.37 + LENGTH * n / STARTS + 0.31 * n, LENGTH).run() for n in range(STARTS)]
        of_kind = [run.cycle for run in runs]
        refused = sum(len(run.refused_at) for run in runs)
        print(f"{name:<40}{mean(of_kind):>13.3f}{max(of_kind):>13.3f}{refused:>13}")
        cycles += of_kind
    print(f"{'all':<40}{mean(cycles):>13.3f}{max(cycles):>13.3f}")


if __name__ == "__main__":
    overhead(*sys.argv[1:2])
