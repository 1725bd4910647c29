"""This project beside dlt and a plain script: `make bench SECTIONS=peers`, about three minutes.

Each is a process of its own, in an environment of its own, and fetches the same chat from the same
server into a new DuckDB file. Measured is the whole process, from its start to its end. The
environments of the others are made in `.venv/bench/` the first time.

`python -m benchmarks.peers <base URL> <DuckDB file>` is this project, and without arguments the
server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.common import NOW, sync_file
from zipchat_dagster.sandbox import Chat, Sandbox, generate, serve

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".venv" / "bench"
RUNS = 3
CONVERSATIONS = 2_000
MESSAGES = 33_500


# The same DuckDB for all.
DUCKDB = f"duckdb=={duckdb.__version__}"
DLT = ("dlt[duckdb]==1.31.0", "pyarrow==26.0.1", DUCKDB)


@dataclass(frozen=True)
class Peer:
    """A program that fetches the chat into a DuckDB file.

    Attributes:
        program: a module beside this one.
        arguments: what it gets after the base URL and the DuckDB file.
        tables: where it puts conversations and messages.
        packages: what its environment holds; none: it runs in this project's own.
    """

    name: str
    does: str
    program: str
    tables: tuple[str, str]
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def python(self) -> Path:
        """The interpreter of its environment, which is made if it is missing."""
        if not self.packages:
            return Path(sys.executable)
        folder = ENVIRONMENTS / self.program
        made = folder / "packages.txt"
        python = folder / "bin" / "python"
        if not made.exists() or made.read_text().split() != list(self.packages):
            print(f"Installing {', '.join(self.packages)} …", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-qq", *self.packages], check=True)
            made.write_text("\n".join(self.packages))
        return python


PEERS = (
    Peer(
        "this project",
        "8 requests at once; a list proven complete, history, coverage, typed rows, plain text;"
        " committed in batches, so a killed run continues where it was",
        "peers",
        ("zipchat.raw_conversations", "zipchat.raw_messages"),
    ),
    Peer(
        "dlt 1.31",
        "its REST API source, messages parallelized, merged by id; one load at the end",
        "peer_dlt",
        ("chat.conversations", "chat.messages"),
        arguments=("insert_values",),  # its default for DuckDB
        packages=DLT,
    ),
    Peer(
        "dlt, Parquet",
        "the same, loaded through Parquet files instead of INSERT statements",
        "peer_dlt",
        ("chat.conversations", "chat.messages"),
        arguments=("parquet",),
        packages=DLT,
    ),
    Peer(
        "script",
        "httpx and pandas, one request after the other; all rows in memory, written once at the"
        " end; pages taken as they come",
        "peer_script",
        ("conversations", "messages"),
        packages=(f"httpx=={version('httpx')}", f"pandas=={version('pandas')}", DUCKDB),
    ),
)


@dataclass(frozen=True)
class Measured:
    wall: float  # seconds
    cpu: float  # seconds, user and system
    stored: tuple[int, ...]  # conversations, messages


def peers() -> None:
    """This project, dlt and a script: 2,000 conversations, 33,500 messages, no rate limit"""
    for peer in PEERS:
        print(f"{peer.name}: {peer.does}")
        peer.python()
    found: dict[str, list[Measured]] = {peer.name: [] for peer in PEERS}
    with _server() as url:
        # In turns, so that whatever else the machine does concerns all of them.
        for _ in range(RUNS):
            for peer in PEERS:
                found[peer.name].append(_run(peer, url))
    print(f"\nMedians of {RUNS} runs, and this project's as a share of them")
    print(f"{'':14}{'wall s':>8}{'share':>7}{'CPU s':>8}{'share':>7}{'stored':>18}")
    wall = {name: median(run.wall for run in runs) for name, runs in found.items()}
    cpu = {name: median(run.cpu for run in runs) for name, runs in found.items()}
    ours = PEERS[0].name
    for name, runs in found.items():
        stored = " or ".join(sorted({" + ".join(map(str, run.stored)) for run in runs}))
        print(
            f"{name:14}{wall[name]:8.1f}{wall[ours] / wall[name]:7.2f}"
            f"{cpu[name]:8.1f}{cpu[ours] / cpu[name]:7.2f}{stored:>18}"
        )


def _run(peer: Peer, url: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warehouse.duckdb"
        program = ["-m", f"benchmarks.{peer.program}", url, str(path), *peer.arguments]
        environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"}
        with (Path(folder) / "output").open("w+b") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                [str(peer.python()), *program],
                env=environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if status:
                output.seek(0)
                sys.exit(f"{peer.name} failed:\n{output.read().decode(errors='replace')}")
        with duckdb.connect(path, read_only=True) as connection:
            counts = ", ".join(f"(select count(*) from {table})" for table in peer.tables)
            (stored,) = connection.execute(f"select {counts}").fetchall()
    return Measured(wall, usage.ru_utime + usage.ru_stime, stored)


@contextmanager
def _server() -> Iterator[str]:
    """The base URL of a sandbox in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


def _serve() -> None:
    """Serve until standard input ends, which it also does if whoever started this is killed."""
    with serve(Sandbox(chat=_chat(), limit=None, pagination="meta")) as url:
        print(url, flush=True)
        sys.stdin.read()


def _chat() -> Chat:
    chat = generate(seed=1, conversations=CONVERSATIONS, days=60, now=NOW - timedelta(hours=2))
    missing = MESSAGES - sum(len(found.messages) for found in chat.conversations.values())
    for number, conversation_id in zip(
        range(missing), cycle(list(chat.conversations)), strict=False
    ):
        chat.add_message(conversation_id, at=NOW - timedelta(seconds=3600 - number // 5))
    return chat


if __name__ == "__main__":
    if sys.argv[1:]:
        url, path = sys.argv[1:]
        sync_file(url, Path(path), budget=Path(path).with_name("budget.sqlite"))
    else:
        _serve()
