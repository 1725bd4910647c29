"""The settings, `ZIPCHAT_…`, read from the environment when the definitions are loaded.

The key is not among them: it stays an `EnvVar` of the resource. A malformed setting is named at
once; a missing key or chat is named by the first run, so that the project can be looked at without.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from zipchat_dagster.client import BASE_URL, SettingError
from zipchat_dagster.warehouse.business_hours import BusinessHours

T = TypeVar("T")

Api = Literal["real", "sandbox", "replay"]

DEFAULT_START_DATE: Final = "2024-01-01"

# What is invented or replayed never gets into the real database by default.
DATABASES: Final[dict[Api, str]] = {
    "real": "data/zipchat.duckdb",
    "sandbox": "data/sandbox.duckdb",
    "replay": "data/replay.duckdb",
}

_PACKAGE_PARENT = Path(__file__).resolve().parent.parent
# Installed into another project, there is no project of ours around the package.
PROJECT: Final = _PACKAGE_PARENT if (_PACKAGE_PARENT / "workspace.yaml").exists() else Path.cwd()


@dataclass(frozen=True)
class Settings:
    """Every setting but the key; see `.env.example` for what each means."""

    api: Api
    chat_id: str
    base_url: str
    database: Path
    replay_database: Path | None
    budget_database: Path
    published_database: Path | None
    start_date: str
    timezone: str
    concurrency: int
    reserve: float
    business_hours: str
    response_target_seconds: float | None
    relist_days: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check them; relative paths are taken from the project's folder.

        Raises:
            SettingError: one is malformed; the message names it.
        """
        read = _Reader(os.environ if environment is None else environment)
        api = read("ZIPCHAT_API", _api, "real")
        database = read("ZIPCHAT_DATABASE", _path, DATABASES[api])
        replay_database = read("ZIPCHAT_REPLAY_DATABASE", _path_or_none, "")
        if api == "replay":
            _check_replay(replay_database, database)
        return cls(
            api=api,
            chat_id=read("ZIPCHAT_CHAT_ID", str, "1" if api == "sandbox" else ""),
            base_url=read("ZIPCHAT_BASE_URL", str, BASE_URL),
            database=database,
            replay_database=replay_database,
            budget_database=read(
                "ZIPCHAT_BUDGET_DATABASE", _path, str(database.parent / "budget.sqlite")
            ),
            published_database=read("ZIPCHAT_PUBLISHED_DATABASE", _path_or_none, ""),
            start_date=read("ZIPCHAT_START_DATE", _start_date, DEFAULT_START_DATE),
            timezone=read("ZIPCHAT_TIMEZONE", _timezone, "UTC"),
            business_hours=read(
                "ZIPCHAT_BUSINESS_HOURS",
                _business_hours,
                "",
                "a list of hours such as mon-fri 09:00-17:00, sat 10:00-14:00",
            ),
            response_target_seconds=read(
                "ZIPCHAT_RESPONSE_TARGET_SECONDS", _seconds, "", "a number of seconds such as 3600"
            ),
            concurrency=read("ZIPCHAT_CONCURRENCY", int, "8", "a whole number such as 8"),
            reserve=read("ZIPCHAT_RESERVE", _fraction, "0.25", "a fraction such as 0.25"),
            relist_days=read("ZIPCHAT_RELIST_DAYS", _days, "7", "a number of days from 0 to 365"),
        )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, parse: Callable[[str], T], default: str, kind: str = "") -> T:
        text = self._environment.get(name, "").strip() or default
        try:
            return parse(text)
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from None
        except ValueError:
            raise SettingError(f"{name}: “{text}” is not {kind}.") from None


def _path(text: str) -> Path:
    return PROJECT / Path(text).expanduser()


def _path_or_none(text: str) -> Path | None:
    return _path(text) if text else None


def _api(text: str) -> Api:
    for api in DATABASES:
        if text == api:
            return api
    raise SettingError(f"“{text}” is no source. Write real, sandbox or replay.")


def _check_replay(source: Path | None, database: Path) -> None:
    if source is None:
        raise SettingError(
            "ZIPCHAT_REPLAY_DATABASE is not set. With ZIPCHAT_API=replay, write the DuckDB file of"
            " an earlier sync."
        )
    if source.resolve() == database.resolve():
        raise SettingError(
            f"ZIPCHAT_REPLAY_DATABASE: {source} is ZIPCHAT_DATABASE too. A replay is written into"
            " another file than it is read from."
        )


def _start_date(text: str) -> str:
    try:
        start = date.fromisoformat(text)
    except ValueError:
        raise SettingError(f"“{text}” is no date. Write one such as 2026-01-31.") from None
    if start > datetime.now(UTC).date() + timedelta(days=1):  # some zone's tomorrow
        raise SettingError(f"“{text}” lies in the future. Write the first day to sync.")
    return start.isoformat()


def _timezone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):
        raise SettingError(
            f"“{text}” is no time zone. Write an IANA name such as Europe/Berlin."
        ) from None


def _business_hours(text: str) -> str:
    if text:
        BusinessHours.parse(text, "UTC")
    return text


def _seconds(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _days(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 365:
        raise ValueError(text)
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise ValueError(text)
    return value
