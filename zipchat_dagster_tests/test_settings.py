"""Settings: malformed ones are reported together, before anything runs; and the database's name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zipchat_dagster import demo
from zipchat_dagster import settings as settings_module
from zipchat_dagster.client import SettingError
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.settings import DATABASES, PROJECT, Settings, check_database_name
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster_tests.conftest import create_tables

SECRET = "zc-never-shown"
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
# Setting, malformed value, what its line says.
MALFORMED = [
    ("ZIPCHAT_API_KEY", f"{SECRET} 2", "it contains a character that no key has."),
    ("ZIPCHAT_CHAT_ID", "abc", "“abc” is not a chat id. It is a whole number, such as 1234."),
    ("ZIPCHAT_BASE_URL", "http://example.com", "would send the key unencrypted."),
    ("ZIPCHAT_API", "Real", "“Real” is not one of real, sandbox and replay."),
    ("ZIPCHAT_CONCURRENCY", "500", "500 is not between 1 and 128."),
    ("ZIPCHAT_RESERVE", "5", "5 is not between 0 and 0.9."),
    ("ZIPCHAT_DATABASE", "data/zipchat.duckdb", "Use another file name, such as warehouse.duckdb"),
    (
        "ZIPCHAT_PUBLISHED_DATABASE",
        "Zipchat.db",
        "the same name as its schema, zipchat, and DuckDB",
    ),
    ("ZIPCHAT_BUDGET_DATABASE", f"postgresql://u:{SECRET}@host/db", "it contains a password."),
    ("ZIPCHAT_START_DATE", "2026-13-01", "“2026-13-01” is not a day such as 2026-01-31."),
    ("ZIPCHAT_TIMEZONE", "Berlin", "“Berlin” is not a time zone's IANA name, such as Europe/"),
    ("ZIPCHAT_RELIST_DAYS", "366", "“366” is not a whole number of days from 0 to 365."),
    ("ZIPCHAT_BUSINESS_HOURS", "9 to 5", "“9 to 5” is not a list of hours such as mon-fri 09"),
    ("ZIPCHAT_RESPONSE_TARGET_SECONDS", "-1", "“-1” is not a number of seconds such as 3600."),
    ("ZIPCHAT_WEBHOOK_URL", f"ftp://host/{SECRET}", "Write https://"),
    ("ZIPCHAT_PII", "hide", "“hide” is not one of keep, hash and drop."),
    ("ZIPCHAT_PII_KEY", SECRET, "it is shorter than 32 characters."),
]


def lines_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment(environment)
    return str(caught.value).splitlines()


def test_all_malformed_settings_are_reported_together_a_line_each() -> None:
    count, *lines = lines_of({name: value for name, value, _ in MALFORMED})
    assert count == f"{len(MALFORMED)} settings are malformed:"
    assert len(lines) == len(MALFORMED)
    for name, _, sentence in MALFORMED:
        (line,) = (line for line in lines if line.startswith(name) and sentence in line)
        assert SECRET not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZIPCHAT_START_DATE", f"{TOMORROW + timedelta(days=2)}"),
        ("ZIPCHAT_START_DATE", "1700000000"),
        ("ZIPCHAT_TIMEZONE", "../etc/passwd"),
        ("ZIPCHAT_TIMEZONE", "Europe"),
        ("ZIPCHAT_CONCURRENCY", "many"),
        ("ZIPCHAT_CONCURRENCY", "0"),
        ("ZIPCHAT_RESERVE", "nan"),
        ("ZIPCHAT_RESERVE", "a third"),
        ("ZIPCHAT_RELIST_DAYS", "0.5"),
        ("ZIPCHAT_RETENTION_DAYS", "0"),
        ("ZIPCHAT_RESPONSE_TARGET_SECONDS", "inf"),
        ("ZIPCHAT_RESERVE", SECRET),  # in the wrong line of .env
    ],
)
def test_a_malformed_setting_is_named_with_what_to_write(name: str, value: str) -> None:
    (line,) = lines_of({name: value})
    assert line.startswith(f"{name}: ")
    assert SECRET not in line


def test_without_any_setting_the_defaults_hold() -> None:
    found = Settings.from_environment({})
    assert found.database == PROJECT / "data" / "warehouse.duckdb"
    assert found.budget_database == PROJECT / "data" / "budget.sqlite"
    assert (found.start_date, found.timezone) == (date(2024, 1, 1), "UTC")
    assert (found.concurrency, found.reserve, found.relist_days) == (8, 0.25, 7)
    # An empty line of .env.example is a setting that is not set.
    assert Settings.from_environment({"ZIPCHAT_API_KEY": "", "ZIPCHAT_RESERVE": " "}) == found


def test_secrets_are_checked_and_not_kept() -> None:
    environment = {
        "ZIPCHAT_API_KEY": SECRET,
        "ZIPCHAT_WEBHOOK_URL": f"https://example.com/{SECRET}",
        "ZIPCHAT_PII_KEY": SECRET * 3,
    }
    found = Settings.from_environment(environment)
    assert found.has_api_key
    assert found.has_webhook_url
    assert found.has_pii_key
    assert SECRET not in repr(found) + str(vars(found))


def test_each_class_of_personal_data_has_a_mode_and_hashes_need_a_key() -> None:
    assert set(Settings.from_environment({}).pii_modes.values()) == {"keep"}
    choice = {"ZIPCHAT_PII": "hash", "ZIPCHAT_PII_CONTENT": "drop"}
    (line,) = lines_of(choice)
    assert line.startswith("ZIPCHAT_PII_KEY: not set. Hashes need it")
    found = Settings.from_environment(choice | {"ZIPCHAT_PII_KEY": SECRET * 3})
    assert found.pii_modes == {"identity": "hash", "content": "drop", "attributes": "hash"}


@pytest.mark.parametrize("api", ["sandbox", "replay"])
def test_invented_and_replayed_data_stays_out_of_the_real_database(api: str) -> None:
    real = Settings.from_environment({})
    choice = {"ZIPCHAT_API": api, "ZIPCHAT_REPLAY_DATABASE": str(real.database)}
    assert Settings.from_environment(choice).database == PROJECT / "data" / f"{api}.duckdb"
    chosen = Settings.from_environment(choice | {"ZIPCHAT_DATABASE": "/srv/chosen.duckdb"})
    assert str(chosen.database) == "/srv/chosen.duckdb"
    assert str(chosen.budget_database) == "/srv/budget.sqlite"


def test_the_budget_is_a_file_in_the_project_or_a_database() -> None:
    for text, found in (
        ("b.sqlite", PROJECT / "b.sqlite"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ):
        assert Settings.from_environment({"ZIPCHAT_BUDGET_DATABASE": text}).budget_database == found


def test_a_replay_needs_a_source_other_than_its_target(tmp_path: Path) -> None:
    assert lines_of({"ZIPCHAT_API": "replay", "ZIPCHAT_RESERVE": "5"})[2].startswith(
        "ZIPCHAT_REPLAY_DATABASE: not set."
    )
    link, target = tmp_path / "link.duckdb", tmp_path / "target.duckdb"
    link.symlink_to(target)
    choice = {"ZIPCHAT_API": "replay", "ZIPCHAT_DATABASE": str(target)}
    (line,) = lines_of(choice | {"ZIPCHAT_REPLAY_DATABASE": str(link)})
    assert line.startswith(f"ZIPCHAT_REPLAY_DATABASE: {link} is also ZIPCHAT_DATABASE.")
    # It is only attached, under another name, so it may have the schema's.
    source = tmp_path / "zipchat.duckdb"
    found = Settings.from_environment(choice | {"ZIPCHAT_REPLAY_DATABASE": str(source)})
    assert found.replay_database == source


# A lake

LAKE = "ducklake:postgres:dbname=lake host=db.example.com"


def test_a_lake_is_named_as_it_is_and_needs_a_place_for_its_data() -> None:
    (line,) = lines_of({"ZIPCHAT_DATABASE": LAKE})
    assert line.startswith("ZIPCHAT_DATA_PATH: not set. A lake needs it")
    found = Settings.from_environment({"ZIPCHAT_DATABASE": LAKE, "ZIPCHAT_DATA_PATH": "lake"})
    assert (found.database, found.data_path) == (LAKE, str(PROJECT / "lake"))
    assert found.budget_database == PROJECT / "data" / "budget.sqlite"
    place = {"ZIPCHAT_DATABASE": LAKE, "ZIPCHAT_DATA_PATH": "s3://bucket/prefix"}
    assert Settings.from_environment(place).data_path == "s3://bucket/prefix"
    assert Settings.from_environment({"ZIPCHAT_DATABASE": "md:chats"}).database == "md:chats"


@pytest.mark.parametrize(
    "name",
    [
        f"{LAKE} password={SECRET}",
        f"ducklake:postgres:postgresql://user:{SECRET}@db.example.com/lake",
        f"ducklake:postgres:postgresql://user@shop.com:{SECRET}@db.example.com/lake",
        f"md:chats?motherduck_token={SECRET}",
    ],
)
def test_a_password_in_the_databases_name_is_refused_and_not_shown(name: str) -> None:
    (line,) = lines_of({"ZIPCHAT_DATABASE": name, "ZIPCHAT_DATA_PATH": "lake"})
    assert line.startswith("ZIPCHAT_DATABASE: it contains a password")
    assert SECRET not in line


# The database's name


def first_query(path: Path) -> list[Any]:
    with duckdb.connect(str(path)) as connection:
        return connection.sql("from zipchat.raw_messages").fetchall()


@pytest.mark.parametrize(
    "database", [*map(Path, DATABASES.values()), demo.DEMO_DATABASE, demo.DEV_DATABASE]
)
def test_the_first_query_works_in_every_default_database_and_its_copy(
    tmp_path: Path, database: Path
) -> None:
    resource = WarehouseResource(database=str(tmp_path / database.name))
    size = resource.warehouse.publish(resource.published)
    assert size == resource.published.stat().st_size
    for path in (Path(resource.database), resource.published):
        assert first_query(path) == []


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [
        ("zipchat.duckdb", True),
        ("zipchat.backup.duckdb", True),
        ("ZipChat.db", True),
        ("zipchat", True),
        ("backup.zipchat.duckdb", False),
        ("zipchat_2026.duckdb", False),
    ],
)
def test_a_name_is_refused_exactly_if_duckdb_refuses_the_first_query(
    tmp_path: Path, name: str, is_refused: bool
) -> None:
    path = tmp_path / name
    create_tables(Warehouse(path))
    if is_refused:
        with pytest.raises(SettingError, match=f"^{name} would give"):
            check_database_name(path)
        with pytest.raises(duckdb.BinderException, match="Ambiguous"):
            first_query(path)
    else:
        assert check_database_name(path) == path
        assert first_query(path) == []


def test_a_database_under_the_former_default_name_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    former, database = tmp_path / "data" / "zipchat.duckdb", tmp_path / "data" / "warehouse.duckdb"
    former.parent.mkdir()
    former.touch()
    (line,) = lines_of({})
    assert line.startswith(f"ZIPCHAT_DATABASE: the default is {database} now, but {former} ")
    assert Settings.from_environment({"ZIPCHAT_API": "sandbox"}).database != database
    former.rename(database)
    assert Settings.from_environment({}).database == database
