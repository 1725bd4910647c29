"""What the request budget costs, and what it loses: `python -m benchmarks.budget`, about a minute.

First table: permits taken and settled per second, through the file, without a network.
Second table: 600 calls against windows of 120 in 5 seconds, simulated (nothing sleeps), for each
way in which the server may count, started at eleven moments within a window.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from itertools import product
from pathlib import Path
from statistics import mean

from zipchat_dagster.client.budget import Budget
from zipchat_dagster.client.window import Answer
from zipchat_dagster_tests.client.simulation import Process, Simulation

SECONDS = 2.0
KEY = "zc-benchmark"


def main() -> None:
    print_overhead()
    print()
    print_windows()


def print_overhead() -> None:
    print(f"{'callers':<24}{'permits per second':>20}")
    for name, processes, threads in (
        ("1 thread", 1, 1),
        ("8 threads", 1, 8),
        ("4 processes", 4, 1),
        ("4 processes, 8 threads", 4, 8),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "budget.sqlite"
            if processes == 1:
                rate = spend(path, threads)
            else:
                with multiprocessing.get_context("spawn").Pool(processes) as pool:
                    # The first round starts the processes.
                    pool.starmap(spend, [(path, threads, 0.1)] * processes, chunksize=1)
                    rate = sum(pool.starmap(spend, [(path, threads)] * processes, chunksize=1))
        print(f"{name:<24}{rate:>20,.0f}")


def spend(path: Path, threads: int, seconds: float = SECONDS) -> float:
    """Permits per second, each settled with the answer of a server whose limit is far away."""
    budget = Budget(KEY, path=path)
    counts = [0] * threads
    until = time.monotonic() + seconds

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
    budget.close()
    return sum(counts) / seconds


def print_windows() -> None:
    columns = ("latency", "alignment", "reset", "rounding")
    figures = ("length", "worst", "spent", "refused")
    print("".join(f"{name:<15}" for name in columns) + "".join(f"{name:>9}" for name in figures))
    for latency, alignment, form, rounding in product(
        (0.0, 1.5), ("clock", "first_request"), ("unix", "seconds"), ("exact", "ceil", "floor")
    ):
        runs = [
            Simulation(
                Process(600, threads=128 if latency else 8),
                phase=0.03 + 0.47 * start,
                latency=latency,
                window_alignment=alignment,
                reset_format=form,
                reset_rounding=rounding,
                clock_offset=137.4 + 0.31 * start,
            ).run()
            for start in range(11)
        ]
        # Seconds from the beginning of a window to the next, in windows of 5 seconds.
        cycles = [run.cycle / 5 for run in runs]
        least = min(min(run.windows) for run in runs) / 120
        refused = sum(len(run.refused_at) for run in runs)
        settings = (f"{latency} s", alignment, form, rounding)
        print(
            "".join(f"{setting:<15}" for setting in settings)
            + f"{mean(cycles):>9.3f}{max(cycles):>9.3f}{least:>9.1%}{refused:>9}"
        )


if __name__ == "__main__":
    main()
