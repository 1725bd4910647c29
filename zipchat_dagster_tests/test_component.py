"""The component in another project: its fields, and all of it from a wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from dagster_duckdb import DuckDBResource
from playwright.sync_api import expect

from zipchat_dagster import ZipchatComponent
from zipchat_dagster.sandbox import DEFAULT_KEY, Sandbox, generate, serve
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.privacy import Privacy
from zipchat_dagster_tests.browser import chromium
from zipchat_dagster_tests.conftest import NOW, Project, thorough, without_settings
from zipchat_dagster_tests.single import QUIET
from zipchat_dagster_tests.test_definitions import PROJECT, run
from zipchat_dagster_tests.test_ui import (
    launch_backfill,
    open_page,
    running,
    wait_until_finished,
)

# What Dagster 1.13.27 itself uses when it loads components.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Parameter `execution_type`"),
    pytest.mark.filterwarnings("ignore:Parameter `owners`"),
    pytest.mark.filterwarnings("ignore:Class `\\w*Code\\w*` is currently in beta"),
]
FIRST, LAST = (f"{NOW - timedelta(days=n):%Y-%m-%d}" for n in (3, 0))
KEY = "{{ env.SUPPORT_KEY }}"
SECRET = "zc-never-shown"


def built(attributes: dict[str, Any], resources: dict[str, Any] | None = None) -> dg.Definitions:
    """The definitions of a project with this one component in its folder `support`."""
    content = {
        "type": "zipchat_dagster.ZipchatComponent",
        "attributes": {"chat_id": 1, "api_key": KEY, **attributes},
    }
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(ZipchatComponent, "support", defs_yaml_contents=content)
        with sandbox.load_component_and_build_defs(path) as (_, defs):
            return dg.Definitions.merge(defs, dg.Definitions(resources=resources or {}))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPORT_KEY", SECRET)


def test_a_few_lines_give_assets_checks_jobs_and_schedules() -> None:
    defs = built({"start_date": "2026-01-31"})
    graph = defs.resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {"support"}
    assert len(graph.asset_check_keys) > 30
    assert {job.name for job in defs.resolve_all_job_defs()} >= {
        "support_sync_job",
        "support_checks_job",
        "support_estimate_job",
        "support_hand_back_job",
    }
    hourly = defs.resolve_schedule_def("support_hourly_schedule")
    assert hourly.cron_schedule == "5 * * * *"
    partitions = graph.get(dg.AssetKey(["support", "raw_messages"])).partitions_def
    assert partitions is not None
    assert partitions.get_first_partition_key() == "2026-01-31"


def test_it_has_the_jobs_about_the_database_unless_another_one_has_them(tmp_path: Path) -> None:
    database = str(tmp_path / "warehouse.duckdb")
    defs = built({"database": database, "retention_days": 30})
    jobs = {"support_publish_job", "support_export_job", "support_maintain_job"}
    jobs.add("support_retention_job")
    assert {job.name for job in defs.resolve_all_job_defs()} >= jobs
    assert defs.resolve_sensor_def("support_publish_sensor").job_name == "support_publish_job"
    retention = defs.resolve_schedule_def("support_retention_schedule")
    assert retention.default_status is dg.DefaultScheduleStatus.RUNNING
    for name in jobs:
        assert defs.resolve_job_def(name).execute_in_process().success
    others = built({"database_jobs": False})
    assert jobs.isdisjoint(job.name for job in others.resolve_all_job_defs())


def test_every_field_about_the_assets_reaches_them() -> None:
    defs = built(
        {
            "name": "desk",
            "asset_key_prefix": ["vendors", "zipchat"],
            "group": "service",
            "tags": {"team": "desk"},
            "owners": ["team:desk"],
            "automation_condition": "{{ dg.AutomationCondition.eager() }}",
            "schedule": "*/30 * * * *",
        }
    )
    for node in defs.resolve_asset_graph().asset_nodes:
        assert node.key.path[:-1] == ["vendors", "zipchat"]
        assert (node.group_name, node.owners) == ("service", ["team:desk"])
        assert node.tags["team"] == "desk"
        assert node.automation_condition == dg.AutomationCondition.eager()
    assert defs.resolve_schedule_def("desk_hourly_schedule").cron_schedule == "*/30 * * * *"


def test_the_keys_are_in_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPORT_PII_KEY", SECRET * 3)
    found = built({"pii": "hash", "pii_key": "{{ env.SUPPORT_PII_KEY }}"}).resources or {}
    zipchat, warehouse = found["zipchat_support"], found["warehouse_support"]
    assert SECRET not in repr(vars(zipchat)) + repr(vars(warehouse))
    assert zipchat.api_key == dg.EnvVar("SUPPORT_KEY")
    assert warehouse.pii_key == dg.EnvVar("SUPPORT_PII_KEY")
    assert warehouse.pii_content == "hash"


def test_places_start_from_the_projects_folder(tmp_path: Path) -> None:
    def places(**attributes: str) -> list[Path]:
        component = ZipchatComponent(chat_id=1, api_key="SUPPORT_KEY", **attributes)  # type: ignore[arg-type]
        found = component._settings(tmp_path)
        return [Path(str(found.database)), Path(str(found.budget_database))]

    data = tmp_path / "data"
    assert places() == [data / "warehouse.duckdb", data / "budget.sqlite"]
    assert places(database="a.duckdb", budget_database="b.sqlite") == [
        tmp_path / "a.duckdb",
        tmp_path / "b.sqlite",
    ]
    home = Path.home()
    assert places(database="~/a.duckdb") == [home / "a.duckdb", home / "budget.sqlite"]
    shared = "postgresql://user@host/db"
    assert places(budget_database=shared)[1] == Path(shared)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"api_key": SECRET}, "name the environment variable that has the key"),
        ({"reserve": 5}, "reserve: 5 is not between 0 and 0.9."),
        ({"timezone": "Berlin"}, "timezone: “Berlin” is not a time zone's IANA name"),
        ({"name": "Help Desk"}, "“Help Desk” is not a name."),
        ({"pii": "hash"}, "pii_key: not set. Hashes need it"),
    ],
)
def test_a_malformed_field_is_reported_in_one_sentence(
    attributes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        built(attributes)
    errors = []
    error: BaseException | None = caught.value
    while error is not None:
        errors.append(str(error))
        error = error.__cause__
    assert any(sentence in text for text in errors)


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[dict[str, tuple[Sandbox, str]]]:
    """Two chats over HTTP."""
    found = {}
    for chat_id, name in enumerate(("support", "sales"), 1):
        chat = generate(
            seed=chat_id, conversations=20, days=3, now=NOW, chat_id=chat_id, max_messages=9
        )
        found[name] = Sandbox(chat=chat, limit=None)
    with serve(found["support"]) as one, serve(found["sales"]) as other:
        yield {"support": (found["support"], one), "sales": (found["sales"], other)}


def test_the_tables_can_be_in_a_database_of_the_project(
    tmp_path: Path,
    sandboxes: dict[str, tuple[Sandbox, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUPPORT_KEY", DEFAULT_KEY)
    monkeypatch.setenv("SUPPORT_PII_KEY", SECRET * 3)
    sandbox, url = sandboxes["support"]
    path = tmp_path / "theirs.duckdb"
    defs = built(
        {
            "base_url": url,
            "database_resource": "duckdb",
            "budget_database": str(tmp_path / "budget.sqlite"),
            "pii": "drop",
            "pii_identity": "hash",
            "pii_key": "{{ env.SUPPORT_PII_KEY }}",
        },
        {"duckdb": DuckDBResource(database=str(path))},
    )
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(["support", "users"])],
        run_config=QUIET,
    )
    assert result.success
    with DuckDBResource(database=str(path)).get_connection() as connection:
        names = connection.execute("select full_name from zipchat.users").fetchall()
    hashed = Privacy("hash", "drop", "drop", key=SECRET * 3).hashed
    expected = {(hashed(user["full_name"]),) for user in sandbox.truth()["users"]}
    assert set(names) == expected


# From a wheel

DEFINITIONS = """
from pathlib import Path

from dagster import Definitions, definitions, in_process_executor, load_from_defs_folder


@definitions
def defs():
    return Definitions.merge(
        load_from_defs_folder(path_within_project=Path(__file__).parent),
        Definitions(executor=in_process_executor),  # as docs/chats.md says
    )
"""
PYPROJECT = """
[project]
name = "shop"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A folder with the package as a wheel installs it."""
    source, dist, folder = (tmp_path / name for name in ("source", "dist", "lib"))
    shutil.copytree(
        PROJECT / "zipchat_dagster",
        source / "zipchat_dagster",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(dist), str(source)]
    subprocess.run([*pip, *build], check=True)
    (file,) = dist.glob("*.whl")
    install = ["install", "--no-deps", "--target", str(folder), str(file)]
    subprocess.run([*pip, *install], check=True)
    return folder


class Shop:
    """A user's Dagster project, with the wheel installed."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "project"
        self.package = self.folder / "src" / "shop"
        (self.package / "defs").mkdir(parents=True)
        (folder / "home").mkdir()
        shutil.copy(PROJECT / "dagster.yaml", folder / "home")
        (self.folder / "pyproject.toml").write_text(PYPROJECT)
        (self.package / "definitions.py").write_text(DEFINITIONS)
        for place in (self.package, self.package / "defs"):
            (place / "__init__.py").touch()
        self.environment = {
            **without_settings(),
            "PYTHONPATH": f"{wheel}:{self.package.parent}",
            "DAGSTER_HOME": str(folder / "home"),
            "SUPPORT_ZIPCHAT_KEY": DEFAULT_KEY,
            "SALES_ZIPCHAT_KEY": DEFAULT_KEY,
        }

    def dg(self, *arguments: str) -> str:
        answer = run(["dg", *arguments], self.environment, folder=self.folder)
        assert answer.returncode == 0, (answer.stdout + answer.stderr)[-3000:]
        return answer.stdout

    def add_chat(self, name: str, sandbox: Sandbox, url: str) -> None:
        """As README.md says."""
        self.dg("scaffold", "defs", "zipchat_dagster.ZipchatComponent", name)
        file = self.package / "defs" / name / "defs.yaml"
        content = yaml.safe_load(file.read_text())
        content["attributes"] |= {
            "chat_id": sandbox.chat.chat_id,
            "base_url": url,
            "start_date": FIRST,
            "database": f"data/{name}.duckdb",
        }
        file.write_text(yaml.safe_dump(content))

    def assert_synced(self, name: str, sandbox: Sandbox) -> None:
        synced = Project(sandbox, Warehouse(self.folder / "data" / f"{name}.duckdb"))
        synced.assert_tables_agree()
        days = "select count(distinct partition_date) from zipchat.escalation_metrics"
        assert synced.rows(days) == [(4,)]


@thorough
@pytest.mark.browser
def test_a_new_project_with_the_wheel_syncs_two_chats(
    tmp_path: Path, wheel: Path, sandboxes: dict[str, tuple[Sandbox, str]]
) -> None:
    shop = Shop(tmp_path, wheel)
    assert "zipchat_dagster.ZipchatComponent" in shop.dg("list", "components")
    for name, (sandbox, url) in sandboxes.items():
        shop.add_chat(name, sandbox, url)
    shop.dg("check", "yaml")
    shop.dg("check", "defs")
    shop.dg("launch", "--job", "support_sync_job", "--partition-range", f"{FIRST}...{LAST}")
    shop.assert_synced("support", sandboxes["support"][0])
    # The other one, and the first again, from the UI
    with (
        chromium() as browser,
        running(
            ["dg", "dev"], shop.environment, folder=shop.folder, log=tmp_path / "dagster.log"
        ) as url,
        open_page(browser, url) as page,
    ):
        page.goto(launch_backfill(page, FIRST, LAST))
        expect(wait_until_finished(page)).to_contain_text("Succeeded")
    for name, (sandbox, _) in sandboxes.items():
        shop.assert_synced(name, sandbox)
