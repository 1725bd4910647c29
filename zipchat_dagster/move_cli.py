"""`make move`: copies all tables of a file into a lake, or of a lake into a file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dotenv

from zipchat_dagster.client import SettingError
from zipchat_dagster.settings import PROJECT, Settings
from zipchat_dagster.warehouse.engine import LAKE, WarehouseError
from zipchat_dagster.warehouse.move import move
from zipchat_dagster.warehouse.warehouse import open_engine


def main(arguments: Sequence[str] | None = None) -> int:
    """Move the tables and print a line for each, or to stderr one sentence about what is wrong.

    Returns:
        the exit code: 0, or 1 if the move is not complete.
    """
    parser = argparse.ArgumentParser(
        prog="python -m zipchat_dagster.move_cli",
        description=(
            "Copy all tables of a file into a lake, or back, without a request to the API. The"
            " source is only read. If a move is interrupted, run it again."
        ),
    )
    parser.add_argument("source", help="a file or a lake, as in ZIPCHAT_DATABASE")
    parser.add_argument("target", help="the same; it must be empty or not exist yet")
    parser.add_argument("--data-path", help="the lake's data; default: ZIPCHAT_DATA_PATH")
    options = parser.parse_args(arguments)
    dotenv.load_dotenv(PROJECT / ".env")
    data_path = options.data_path or os.environ.get("ZIPCHAT_DATA_PATH", "")
    try:
        source = _settings("FROM", options.source, data_path)
        target = _settings("TO", options.target, data_path)
        _check(source.database, target.database)
        move(
            open_engine(str(source.database), source.data_path or ""),
            open_engine(str(target.database), target.data_path or ""),
            origin=str(source.database),
            report=print,
        )
    except (SettingError, WarehouseError) as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"Done: {target.database} has exactly the same rows. Set ZIPCHAT_DATABASE to it. Not"
        " moved: the request budget, the published copy, the report, and Dagster's own records of"
        " its runs."
    )
    return 0


def _settings(name: str, database: str, data_path: str) -> Settings:
    if not database.strip():
        raise SettingError(f"{name} is missing. Give a file or a lake, as in ZIPCHAT_DATABASE.")
    return Settings.from_environment({"ZIPCHAT_DATABASE": database, "ZIPCHAT_DATA_PATH": data_path})


def _check(source: Path | str, target: Path | str) -> None:
    if isinstance(source, Path) and not source.exists():
        raise SettingError(f"{source} does not exist.")
    if str(source) == str(target):
        raise SettingError(f"FROM and TO are both {source}.")
    if str(source).startswith(LAKE) and str(target).startswith(LAKE):
        raise SettingError(
            "FROM and TO are both lakes. Move the first into a file, and that into the second."
        )


if __name__ == "__main__":
    sys.exit(main())
