"""This project beside dlt and a plain script: `make bench SECTIONS=peers`, about three minutes.

Each is a process of its own, in an environment of its own, and fetches the same chat from the same
server into a new DuckDB file. Measured is the whole process, from its start to its end. The
environments of the others are made below `.bench/` the first time.
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
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from statistics import median

import duckdb

from zipchat_dagster.sandbox import Chat, Sandbox, generate, serve

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".bench"
RUNS = 5
CONVERSATIONS = 2_000
MESSAGES = 33_500


@dataclass(frozen=True)
class Peer:
    """A program that fetches the chat; `schema` is where its tables are, `packages` what it needs
    (none: it runs in this project's own environment)."""

    name: str
    does: str
    program: str
    schema: str
    prefix: str = ""
    packages: tuple[str, ...] = ()

    def python(self) -> Path:
        """The interpreter of its environment, which is made if it is missing."""
        if not self.packages:
            return Path(sys.executable)
        folder = ENVIRONMENTS / self.program.removesuffix(".py")
        made = folder / "packages.txt"
        python = folder / "bin" / "python"
        if not made.exists() or made.read_text().split() != list(self.packages):
            print(f"Installing {', '.join(self.packages)} …", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-qq", *self.packages], check=True)
            made.write_text("\n".join(self.packages))
        return python


# The same DuckDB for all.
DUCKDB = f"duckdb=={duckdb.__version__}"
PEERS = (
    Peer(
        "this project",
        "8 requests at once; complete lists proven, history, coverage, typed rows, plain text;"
        " stored in batches, so that a killed run goes on where it was",
        "peer_this.py",
        "zipchat",
        "raw_",
    ),
    Peer(
        "dlt 1.31",
        "rest_api source, messages as a parallelized child resource; merged by id, through Parquet;"
        " one load at the end",
        "peer_dlt.py",
        "chat",
        packages=("dlt[duckdb,parquet]==1.31.0", DUCKDB, "pyarrow==22.0.0"),
    ),
    Peer(
        "script",
        "httpx and pandas, one request after the other; all rows in memory, written once at the end",
        "peer_script.py",
        "main",
        packages=(f"httpx=={version('httpx')}", f"pandas=={version('pandas')}", DUCKDB),
    ),
)


@dataclass(frozen=True)
class Measured:
    wall: float  # seconds
    cpu: float  # seconds, user and system
    stored: tuple[int, int]  # conversations, messages


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
    ours = found[PEERS[0].name]
    print(f"\nMedians of {RUNS} runs; in brackets, this project's share of it")
    print(f"{'':14}{'wall s':>16}{'CPU s':>16}{'conversations':>16}{'messages':>10}")
    for name, runs in found.items():
        wall = _with_share([run.wall for run in ours], [run.wall for run in runs])
        cpu = _with_share([run.cpu for run in ours], [run.cpu for run in runs])
        (stored,) = {run.stored for run in runs}
        print(f"{name:14}{wall:>16}{cpu:>16}{stored[0]:>16,}{stored[1]:>10,}")
    if len({run.stored for runs in found.values() for run in runs}) > 1:
        print("The rows stored differ: the times cannot be compared.")


def _with_share(ours: list[float], theirs: list[float]) -> str:
    return f"{median(theirs):.1f} ({median(ours) / median(theirs):.2f})"


def _run(peer: Peer, url: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warehouse.duckdb"
        command = [str(peer.python()), str(HERE / peer.program), url, str(path)]
        environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"}
        with (Path(folder) / "output").open("w+b") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if status:
                output.seek(0)
                sys.exit(f"{peer.name} failed:\n{output.read().decode(errors='replace')}")
        with duckdb.connect(path, read_only=True) as connection:
            stored = tuple(
                connection.execute(
                    f"select count(*) from {peer.schema}.{peer.prefix}{table}"
                ).fetchall()[0][0]
                for table in ("conversations", "messages")
            )
    return Measured(wall, usage.ru_utime + usage.ru_stime, stored)


@contextmanager
def _server() -> Iterator[str]:
    """The base URL of a sandbox in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers"],
        cwd=HERE.parent,
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
    now = datetime.now(UTC).replace(microsecond=0)
    chat = generate(seed=1, conversations=CONVERSATIONS, days=60, now=now - timedelta(hours=2))
    missing = MESSAGES - sum(len(found.messages) for found in chat.conversations.values())
    for number, conversation_id in zip(
        range(missing), cycle(list(chat.conversations)), strict=False
    ):
        chat.add_message(conversation_id, at=now - timedelta(seconds=3600 - number // 5))
    return chat


if __name__ == "__main__":
    _serve()
