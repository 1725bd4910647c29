"""`make demo` and `make dev`: the project on the sandbox, if you have no key yet.

`python -m zipchat_dagster.demo` materializes the last seven days of every asset through Dagster
and prints the escalation metrics. `python -m zipchat_dagster.demo dev` starts Dagster's UI and
daemon on the source in ZIPCHAT_API (from the environment or `.env`). If that is not set, it uses
the real API if there is a key, and otherwise a sandbox.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dotenv

from zipchat_dagster.client import SettingError
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.settings import PROJECT, Settings
from zipchat_dagster.warehouse import Warehouse, summaries

DAYS = 7
DEMO_DATABASE = PROJECT / "data" / "demo.duckdb"
DEV_DATABASE = PROJECT / "data" / "dev.duckdb"
DEV_DAYS = 30


def main() -> int:
    """Run the demo, or `dev`; returns the exit code."""
    return dev() if sys.argv[1:2] == ["dev"] else demo()


def demo() -> int:
    """Sandbox → Dagster → DuckDB → a printed table."""
    _remove(DEMO_DATABASE)
    now = datetime.now(UTC)
    first, last = f"{now - timedelta(days=DAYS - 1):%Y-%m-%d}", f"{now:%Y-%m-%d}"
    chat = generate(seed=1, conversations=900, days=30, now=now)
    # Windows of 5 seconds instead of 60, so that you can watch the pacing without waiting long.
    sandbox = Sandbox(chat=chat, limit=120, window=5, pagination="meta")
    print(f"1. A sandbox simulates the Zipchat API with {len(chat.conversations)} conversations.")
    with serve(sandbox) as url, TemporaryDirectory() as dagster_home:
        # The demo is the same for everyone, regardless of the settings in the environment.
        for name in [name for name in os.environ if name.startswith("ZIPCHAT_")]:
            del os.environ[name]
        os.environ |= sandbox_environment(url, DEMO_DATABASE) | {
            "ZIPCHAT_START_DATE": f"{now - timedelta(days=30):%Y-%m-%d}",
            "DAGSTER_HOME": dagster_home,
        }
        (Path(dagster_home) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        print(f"2. Dagster materializes every asset for {first} to {last}:\n")
        started = time.monotonic()
        report = _materialize(first, last)
        if report is None:
            return 1
        seconds = time.monotonic() - started
    stats = sandbox.stats()
    print("\n3. The metrics of these days, for all conversations:\n")
    print(summaries.metrics_table(Warehouse(DEMO_DATABASE), chat_id=1))
    print(
        f"\n{stats['requests']} requests in {seconds:.0f} s; {stats['refused']} exceeded the rate"
        f" limit.\nDatabase: {_shown(DEMO_DATABASE)} (its tables are in the schema zipchat)"
        f"\nReport:   {_shown(report)} (open it in a browser)\n"
        "\nNext:\n"
        "  make dev                 opens this project in Dagster's UI, on a sandbox\n"
        "  cp .env.example .env     fill in the key and the chat, and make dev uses your chat\n"
        "  README.md                backfills, schedules and queries"
    )
    return 0


def dev() -> int:
    """`dagster dev` on this project, until Ctrl-C."""
    dotenv_values = dotenv.dotenv_values(PROJECT / ".env").items()
    environment = {name: value for name, value in dotenv_values if value is not None} | os.environ
    environment["DAGSTER_HOME"] = environment.get("DAGSTER_HOME") or str(PROJECT)
    try:
        settings = Settings.from_environment(environment)
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    command = [
        # The successor it recommends, `dg dev`, is a development tool, not part of this package.
        *(sys.executable, "-W", "ignore:Function `dev_command` is superseded"),
        *("-m", "dagster", "dev", "-m", "zipchat_dagster.definitions", "-d", str(PROJECT)),
        *sys.argv[2:],
    ]
    if environment.get("ZIPCHAT_API", "").strip() or settings.has_api_key or settings.chats:
        source = {
            "real": f"the API at {settings.base_url}",
            "sandbox": "the sandbox",
            "replay": f"a replay of {settings.replay_database}",
        }[settings.api]
        print(f"Using {source}, with the database {_shown(settings.database)}.", flush=True)
        return _run(command, environment)
    now = datetime.now(UTC)
    chat = generate(seed=1, conversations=900, days=DEV_DAYS, now=now)
    # A server, not ZIPCHAT_API=sandbox: it has a rate limit, changes while you watch, and keeps
    # what is written back.
    _remove(DEV_DATABASE)
    with (
        serve(Sandbox(chat=chat, mutate_every=20)) as url,
        # Otherwise Dagster would take the days of an earlier sandbox for materialized, and later
        # those of your own chat.
        TemporaryDirectory(ignore_cleanup_errors=True) as dagster_home,
    ):
        shutil.copy(PROJECT / "dagster.yaml", dagster_home)
        print(
            "No ZIPCHAT_API_KEY in the environment or .env: using the SANDBOX, with invented data"
            f" of the last {DEV_DAYS} days.\n{_shown(DEV_DATABASE)} and Dagster's history start"
            " empty each time.",
            flush=True,
        )
        environment |= sandbox_environment(url, DEV_DATABASE) | {
            "ZIPCHAT_START_DATE": f"{now - timedelta(days=DEV_DAYS):%Y-%m-%d}",
            "DAGSTER_HOME": dagster_home,
        }
        return _run(command, environment)


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


def _materialize(first: str, last: str) -> Path | None:
    """Materialize everything for these days. Returns the report's path, or None if it failed."""
    # Imported here because the definitions read the environment when they are imported.
    import dagster as dg

    from zipchat_dagster.definitions import defs

    result = defs.resolve_job_def("sync_job").execute_in_process(
        instance=dg.DagsterInstance.get(),
        run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
        raise_on_error=False,
    )
    if not result.success:
        return None
    (event,) = result.asset_materializations_for_node("escalation_report")
    return Path(str(event.metadata["report"].value))


def _remove(database: Path) -> None:
    """Remove an earlier run's data: a sandbox moves with the clock, so it would not fit."""
    for file in database.parent.glob(f"{database.stem}.*"):
        if file.is_file():
            file.unlink()


def _run(command: list[str], environment: dict[str, str]) -> int:
    # Dagster reads the .env of the folder it is started in, which would override the sandbox's
    # settings.
    with TemporaryDirectory() as folder_without_env:
        process = subprocess.Popen(command, env=environment, cwd=folder_without_env)
        # Otherwise Dagster's processes would outlive this one.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal sends Ctrl-C to Dagster too.
            process.wait()
            return 0


def _shown(database: Path | str) -> str:
    path = Path(database)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else database)


if __name__ == "__main__":
    sys.exit(main())
