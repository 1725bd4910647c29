"""README.md, docs/ and .env.example agree with the code, and their queries run as written."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from zipchat_dagster.build import build_chats_report
from zipchat_dagster.sandbox.__main__ import _parser
from zipchat_dagster.settings import Settings
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.dbt_sources import dbt_sources
from zipchat_dagster.warehouse.tables import markdown
from zipchat_dagster_tests.conftest import create_tables

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "zipchat_dagster"
DOCS = PROJECT / "docs"
PAGES = {path: path.read_text("utf-8") for path in [PROJECT / "README.md", *DOCS.glob("*.md")]}
PROSE = "\n".join(PAGES.values())
ENV_EXAMPLE = (PROJECT / ".env.example").read_text("utf-8")
CODE = "\n".join(
    path.read_text("utf-8") for path in PACKAGE.rglob("*") if path.suffix in {".py", ".sql"}
)


def settings_in_code() -> set[str]:
    return {str(field.alias) for field in Settings.model_fields.values()}


def settings_table() -> dict[str, str]:
    """Each setting of docs/settings.md with its default, as it is written there."""
    text = PAGES[DOCS / "settings.md"]
    return dict(re.findall(r"^\| `(ZIPCHAT_\w+)` \| (.*?) \|", text, re.MULTILINE))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PROSE, re.MULTILINE | re.DOTALL)


def headings(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_pages_generated_from_the_schema_are_up_to_date() -> None:
    generated = {"tables.md": markdown(), "dbt_sources.yml": dbt_sources()}
    for name, text in generated.items():
        assert (DOCS / name).read_text("utf-8") == text, "run `make docs`"


def test_every_setting_is_documented_and_no_other_is_named() -> None:
    assert set(settings_table()) == settings_in_code()
    assert set(re.findall(r"^#?(ZIPCHAT_\w+)=", ENV_EXAMPLE, re.MULTILINE)) == settings_in_code()
    assert set(re.findall(r"\bZIPCHAT_[A-Z_]*[A-Z]\b", PROSE + ENV_EXAMPLE)) == settings_in_code()


def test_documented_defaults_are_the_defaults() -> None:
    literals = {
        name: cell.strip("`")
        for name, cell in settings_table().items()
        if re.fullmatch("`[^`]+`", cell)
    }
    assert literals["ZIPCHAT_DATABASE"] == "data/warehouse.duckdb"
    for name, default in literals.items():
        assert f"{name}={default}\n" in ENV_EXAMPLE
        assert Settings.from_environment({name: default}) == Settings.from_environment({}), name


def test_env_example_is_valid_as_it_stands() -> None:
    values = dict(re.findall(r"^#?(ZIPCHAT_[A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))
    Settings.from_environment(values)


def test_links_lead_somewhere_and_the_readme_links_every_page() -> None:
    linked = set()
    for path, text in PAGES.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            file = (path.parent / target).resolve() if target else path
            assert file.exists(), f"{path.name}: {target}"
            linked.add(file)
            if anchor:
                assert anchor in headings(file.read_text("utf-8")), (
                    f"{path.name}: {target}#{anchor}"
                )
    assert linked >= {*DOCS.glob("*.png"), *DOCS.glob("*.md")}


def test_every_make_target_that_is_named_exists() -> None:
    answer = subprocess.run(
        ["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    listed = set(re.findall(r"^make (\w+)", answer.stdout, re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", PROSE + ENV_EXAMPLE, re.MULTILINE)) <= listed


def test_jobs_schedules_and_sensors_are_documented_and_no_other_is_named() -> None:
    from zipchat_dagster.definitions import defs

    several = build_chats_report([], [])
    items = [*defs.jobs, *defs.schedules, *defs.sensors, *several.jobs, *several.sensors]  # type: ignore[misc]
    defined = {item.name for item in items}
    named = set(re.findall(r"`(\w+_(?:job|schedule|sensor))`", PROSE))
    assert named <= defined
    # Those two need no explanation: "Materialize all", and what checks_schedule runs.
    assert defined - named <= {"sync_job", "checks_job"}


def test_every_name_and_file_that_is_mentioned_exists() -> None:
    names = set(re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`", PROSE))
    assert names <= set(re.findall(r"\w+", CODE))
    files = set(re.findall(r"`(?:zipchat_dagster/)?(\w+/[\w/.]*|\w+\.py)`", PROSE))
    for name in files:
        is_made_by_a_run = name.startswith("data/")
        assert is_made_by_a_run or (PACKAGE / name).exists() or (PROJECT / name).exists(), name


def test_symptoms_are_quoted_as_the_code_words_them() -> None:
    rows = re.findall(r"^\| (.*?) \|", PAGES[DOCS / "troubleshooting.md"], re.MULTILINE)
    symptoms = [span for row in rows for span in re.findall("`([^`]*)`", row) if " " in span]
    assert len(symptoms) >= 5
    joined = re.sub(r'"\s*\n\s*f?"', "", CODE)  # a string over several lines
    for symptom in symptoms:
        for part in re.split(r"…|\d+", symptom):
            assert part in joined, symptom


def test_programs_and_their_options_exist() -> None:
    for module, options in re.findall(
        r"^python -m (zipchat_dagster\.\S+)(.*)$", PROSE, re.MULTILINE
    ):
        assert importlib.util.find_spec(module), module
        if module == "zipchat_dagster.sandbox":
            _parser().parse_args(shlex.split(options))


def test_queries_and_snippets_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    create_tables(Warehouse(Path("data/warehouse.duckdb")))
    for block in blocks("python"):
        code = compile(block, "docs", "exec")
        if "zc-…" not in block:  # that one needs a key
            exec(code, {})
    for name in set(re.findall(r"data/\w+\.duckdb", PROSE)) - {
        "data/zipchat.duckdb",
        "data/zipchat_published.duckdb",
    }:
        if not Path(name).exists():
            shutil.copy("data/warehouse.duckdb", name)
        with duckdb.connect(name, read_only=True) as connection:
            connection.sql("from zipchat.raw_messages").fetchall()
            for statement in ";".join(blocks("sql")).split(";"):
                if statement.strip():
                    connection.execute(statement)
