"""Settings are named and explained before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipchat_dagster.client import SettingError
from zipchat_dagster.settings import PROJECT, Settings


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ZIPCHAT_START_DATE", "2026-13-01", "“2026-13-01” is no date"),
        ("ZIPCHAT_START_DATE", "2999-01-01", "lies in the future"),
        ("ZIPCHAT_TIMEZONE", "Berlin", "“Berlin” is no time zone"),
        ("ZIPCHAT_TIMEZONE", "../etc/passwd", "is no time zone"),
        ("ZIPCHAT_API", "Real", "“Real” is no source. Write real, sandbox or replay."),
        ("ZIPCHAT_CONCURRENCY", "many", "“many” is not a whole number"),
        ("ZIPCHAT_RESERVE", "a third", "“a third” is not a fraction"),
        ("ZIPCHAT_RESERVE", "nan", "is not a fraction"),
        ("ZIPCHAT_BUSINESS_HOURS", "9 to 5", "“9 to 5” is not a list of hours"),
        ("ZIPCHAT_RESPONSE_TARGET_SECONDS", "-1", "“-1” is not a number of seconds"),
    ],
)
def test_a_malformed_setting_is_named_with_what_to_write(
    name: str, value: str, sentence: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert sentence in str(caught.value)


def test_without_any_setting_the_defaults_hold() -> None:
    settings = Settings.from_environment({})
    assert settings.database == PROJECT / "data" / "zipchat.duckdb"
    assert settings.budget_database == PROJECT / "data" / "budget.sqlite"
    assert (settings.start_date, settings.timezone) == ("2024-01-01", "UTC")
    assert (settings.concurrency, settings.reserve) == (8, 0.25)


@pytest.mark.parametrize("api", ["sandbox", "replay"])
def test_what_is_not_real_is_never_stored_among_what_is(api: str) -> None:
    real = Settings.from_environment({})
    choice = {"ZIPCHAT_API": api, "ZIPCHAT_REPLAY_DATABASE": str(real.database)}
    assert Settings.from_environment(choice).database == PROJECT / "data" / f"{api}.duckdb"
    chosen = Settings.from_environment(choice | {"ZIPCHAT_DATABASE": "/srv/chosen.duckdb"})
    assert str(chosen.database) == "/srv/chosen.duckdb"


def test_a_replay_into_its_own_source_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(tmp_path / "zipchat.duckdb")
    choice = {"ZIPCHAT_API": "replay", "ZIPCHAT_REPLAY_DATABASE": str(link)}
    with pytest.raises(SettingError, match=r"ZIPCHAT_REPLAY_DATABASE: .* is ZIPCHAT_DATABASE too"):
        Settings.from_environment(choice | {"ZIPCHAT_DATABASE": str(tmp_path / "zipchat.duckdb")})


def test_the_budget_stands_beside_the_database() -> None:
    settings = Settings.from_environment({"ZIPCHAT_DATABASE": "/srv/chat.duckdb"})
    assert str(settings.budget_database) == "/srv/budget.sqlite"
