"""The README, .env.example and the code say the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from zipchat_dagster.settings import Settings
from zipchat_dagster.warehouse.tables import markdown

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SETTING = re.compile(r"ZIPCHAT_[A-Z_]+")


def settings_in_code() -> set[str]:
    sources = (PROJECT / "zipchat_dagster").rglob("*.py")
    return {
        name for path in sources for name in re.findall(r'"(ZIPCHAT_[A-Z_]+)"', path.read_text())
    }


def test_the_readme_lists_every_table_and_column_as_the_schema_has_them() -> None:
    assert f"<!-- tables -->\n{markdown()}\n<!-- /tables -->" in README


def test_every_setting_stands_in_the_readme_and_in_env_example() -> None:
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    table = README.split("<!-- settings -->")[1].split("\n\n")[0]
    assert set(SETTING.findall(example)) - {"ZIPCHAT_"} == settings_in_code()
    assert set(re.findall(r"^\| `(ZIPCHAT_[A-Z_]+)`", table, re.MULTILINE)) == settings_in_code()


def test_env_example_is_valid_as_it_stands() -> None:
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    values = dict(re.findall(r"^#?(ZIPCHAT_[A-Z_]+)=(.*)$", text, re.MULTILINE))
    Settings.from_environment(values)


def test_make_help_lists_every_target_of_the_readme() -> None:
    answer = subprocess.run(
        ["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    listed = set(re.findall(r"^make (\w+)", answer.stdout, re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE)) <= listed


def test_every_file_and_folder_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:client|warehouse|assets|sandbox|examples)/[\w/]*)`", README):
        assert (PROJECT / "zipchat_dagster" / name).exists(), name
    for name in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (PROJECT / name).exists(), name
