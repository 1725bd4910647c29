"""`make demo` and `make dev`: the project on the sandbox, for who has no key yet.

`python -m zipchat_dagster.demo` materializes the last seven days of every asset through Dagster
and prints the escalation metrics. `python -m zipchat_dagster.demo dev` starts Dagster's UI and
daemon, on what ZIPCHAT_API says (in the environment or in `.env`); unless it is set, on the real
API when there is a key, and on the sandbox otherwise.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dotenv

from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT

DAYS = 7
DEMO_DATABASE = PROJECT / "data" / "demo.duckdb"
DEV_DATABASE = PROJECT / "data" / "dev.duckdb"
DEV_DAYS = 30


def main() -> int:
    """Run the demo, or `dev`; returns the exit code."""
    return dev() if sys.argv[1:2] == ["dev"] else demo()


def demo() -> int:
    """Sandbox → Dagster → DuckDB → a printed table, and the sandbox is gone again."""
    _remove(DEMO_DATABASE)
    now = datetime.now(UTC)
    days = [f"{now - timedelta(days=n):%Y-%m-%d}" for n in reversed(range(DAYS))]
    chat = generate(seed=1, conversations=900, days=30, now=now)
    # Windows of 5 seconds instead of 60, so that pacing can be watched without waiting for it.
    sandbox = Sandbox(chat=chat, limit=120, window=5, pagination="meta")
    print(f"1. A sandbox plays the Zipchat API with {len(chat.conversations)} conversations.")
    with serve(sandbox) as url, TemporaryDirectory() as dagster_home:
        os.environ |= sandbox_environment(url, DEMO_DATABASE) | {
            "ZIPCHAT_START_DATE": f"{now - timedelta(days=30):%Y-%m-%d}",
            "DAGSTER_HOME": dagster_home,
        }
        (Path(dagster_home) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        print(f"2. Dagster materializes every asset for {days[0]} to {days[-1]}:\n")
        started = time.monotonic()
        if not _materialize(days):
            return 1
        seconds = time.monotonic() - started
    stats = sandbox.stats()
    print("\n3. What support did in these days (all conversations; more in the table):\n")
    print(_metrics_table())
    print(
        f"\n{stats['requests']} requests, {stats['refused']} of them refused, {seconds:.0f} s."
        f"\nThe database is {_shown(DEMO_DATABASE)}; its tables are in the schema zipchat.\n"
        "\nNext:\n"
        "  make dev                 the Dagster UI, with this project and a sandbox behind it\n"
        "  cp .env.example .env     then fill in key and chat, and make dev uses the real API\n"
        "  README.md                backfills, schedules, every setting and every table"
    )
    return 0


def dev() -> int:
    """`dagster dev` on this project, until Ctrl-C."""
    environment: dict[str, str | None] = {**dotenv.dotenv_values(PROJECT / ".env"), **os.environ}
    environment |= {"DAGSTER_HOME": environment.get("DAGSTER_HOME") or str(PROJECT)}
    command = [
        # The successor it recommends, `dg dev`, is a tool of development, not of this package.
        *(sys.executable, "-W", "ignore:Function `dev_command` is superseded"),
        *("-m", "dagster", "dev", "-m", "zipchat_dagster.definitions", "-d", str(PROJECT)),
        *sys.argv[2:],
    ]
    api = (environment.get("ZIPCHAT_API") or "").strip()
    if api or (environment.get("ZIPCHAT_API_KEY") or "").strip():
        used = f"ZIPCHAT_API={api}" if api not in ("", "real") else "The real API"
        print(f"{used} is used{_base_url_note(environment)}.", flush=True)
        return _run(command, environment)
    now = datetime.now(UTC)
    chat = generate(seed=1, conversations=900, days=DEV_DAYS, now=now)
    # A server, not ZIPCHAT_API=sandbox: it has a rate limit, changes while one looks on, and keeps
    # what is written back.
    _remove(DEV_DATABASE)
    with serve(Sandbox(chat=chat, mutate_every=20)) as url:
        print(
            "No ZIPCHAT_API_KEY in the environment or .env: the SANDBOX is used, with invented data"
            f" of the last {DEV_DAYS} days,\nin {_shown(DEV_DATABASE)} (made anew at each start).",
            flush=True,
        )
        start = {"ZIPCHAT_START_DATE": f"{now - timedelta(days=DEV_DAYS):%Y-%m-%d}"}
        return _run(command, {**environment, **sandbox_environment(url, DEV_DATABASE), **start})


def sandbox_environment(url: str, database: Path) -> dict[str, str]:
    """The settings that point the project at a sandbox."""
    return {
        "ZIPCHAT_API": "real",
        "ZIPCHAT_API_KEY": DEFAULT_KEY,
        "ZIPCHAT_CHAT_ID": "1",
        "ZIPCHAT_BASE_URL": url,
        "ZIPCHAT_DATABASE": str(database),
        "ZIPCHAT_BUDGET_DATABASE": f"{database.with_suffix('')}.budget.sqlite",
    }


def _materialize(days: list[str]) -> bool:
    # The environment is set by now, and the definitions read it when they are imported.
    import dagster as dg

    from zipchat_dagster.definitions import defs

    result = defs.resolve_job_def("sync_job").execute_in_process(
        instance=dg.DagsterInstance.get(),
        run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
        tags={
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        },
        raise_on_error=False,
    )
    return result.success


def _metrics_table() -> str:
    from zipchat_dagster.warehouse import Warehouse, summaries

    return summaries.metrics_table(Warehouse(DEMO_DATABASE))


def _remove(database: Path) -> None:
    """The sandbox's data moves with the clock: what an earlier one left would not fit."""
    for file in database.parent.glob(f"{database.stem}.*"):
        if file.is_file():
            file.unlink()


def _run(command: list[str], environment: dict[str, str | None]) -> int:
    known = {name: value for name, value in environment.items() if value is not None}
    # Dagster puts the .env of the folder it is started in over the environment: over the sandbox's.
    with TemporaryDirectory() as folder_without_env:
        process = subprocess.Popen(command, env=known, cwd=folder_without_env)
        # Who stops us stops Dagster's processes too; left alone, they would go on.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told Dagster too.
            process.wait()
            return 0


def _base_url_note(environment: dict[str, str | None]) -> str:
    url = environment.get("ZIPCHAT_BASE_URL")
    return f" at {url}" if url else ""


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
