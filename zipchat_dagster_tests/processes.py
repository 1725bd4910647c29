"""Python programs as processes. Each prints a line once it is ready, and waits for one to go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Opens a database, and keeps it open.
HOLD = """
import sys
from pathlib import Path
from zipchat_dagster.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).connection(purpose="raw_messages"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def ready(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready; `communicate("\n")` lets it go on."""
    with start(program, *arguments) as process:
        wait_until_ready(process)
        yield process


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline()


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def run_together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let all of them go on at once, when the last one is ready. Returns what each printed then."""
    for process in processes:
        wait_until_ready(process)
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs
