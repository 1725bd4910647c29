"""Processes that share a budget, each with its own clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zipchat_dagster.sandbox import Sandbox, serve
from zipchat_dagster_tests.processes import run_together, start

CALLS = 25  # of each process
PROGRAM = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import httpx
from zipchat_dagster.client.budget import Budget, BudgetTransport, Clock

base_url, database, calls, ahead = sys.argv[1:]

class Ahead(Clock):
    def time(self):
        return time.time() + float(ahead)

budget = Budget("zc-sandbox", database=database, clock=Ahead())
headers = {"Authorization": "Bearer zc-sandbox"}
transport = BudgetTransport(httpx.HTTPTransport(), budget)
with httpx.Client(transport=transport, headers=headers) as client, ThreadPoolExecutor(6) as pool:
    url = f"{base_url}/chats/1/users/1"
    print("ready", flush=True)
    sys.stdin.readline()
    answers = set(pool.map(lambda _: client.get(url).status_code, range(int(calls))))
    print(answers, budget.refused)
"""


def call_together(sandbox: Sandbox, database: Path | str, *, clocks: Sequence[float]) -> None:
    """Start a process per clock, which is that many seconds ahead. All of them make their calls at
    once; each must be answered, and none refused."""
    with serve(sandbox) as base_url:
        arguments = (base_url, database, CALLS)
        outputs = run_together([start(PROGRAM, *arguments, ahead) for ahead in clocks])
    assert outputs == ["{404} 0\n"] * len(clocks)
