"""A PostgreSQL server for tests: on loopback, on a free port, with data that nothing outlives."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HOST = "127.0.0.1"
USER = "postgres"
START_SECONDS = 60
# The programs refuse to run as root.
ACCOUNT: dict[str, Any] = (
    {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def programs() -> Path:
    """The folder with initdb and postgres; skips the test if there is none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (installed[-1] if installed else None)
    if found is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    return Path(found).resolve().parent


class Server:
    """A running server. `user` is its superuser. All connections need the password."""

    def __init__(self, programs: Path, data: Path, log: Path, password: str) -> None:
        self.host = HOST
        self.port = free_port()
        self.user = USER
        self.password = password
        self.log = log
        self._programs = programs
        self.data = data
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What libpq, psql and DuckDB read to connect as the superuser."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    def start(self) -> None:
        """Start, and return once connections are accepted."""
        options = {
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "port": self.port,
            "fsync": "off",  # the data need not outlive the machine
            "max_connections": 200,
        }
        command = [str(self._programs / "postgres"), "-D", str(self.data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, cwd="/", stderr=log, stdout=log, **ACCOUNT)
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts_connections():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"PostgreSQL did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Close all connections and stop. Transactions that are open are rolled back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def _accepts_connections(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """A server with an empty database `postgres`, stopped and removed at the end.

    Its log is `postgres.log` in `folder`. Its data is elsewhere, because pytest's folders are closed
    to the account that it runs as.
    """
    found = programs()
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="zipchat-postgres-") as name:
        home = Path(name)
        (home / "password").write_text(password)
        if ACCOUNT:
            for path in (home, home / "password"):
                shutil.chown(path, ACCOUNT["user"], ACCOUNT["group"])
        command = [str(found / "initdb"), "-D", str(home / "data"), "-U", USER]
        command += ["--auth=scram-sha-256", f"--pwfile={home / 'password'}"]
        command += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, cwd="/", check=True, capture_output=True, **ACCOUNT)
        server = Server(found, home / "data", folder / "postgres.log", password)
        try:
            server.start()
            yield server
        finally:
            server.stop()
