"""`erase_lead_job`: afterwards, nothing of the person is in any file, or the job fails and says where
something is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from zipchat_dagster import erase_jobs
from zipchat_dagster.assets.escalation_report import report_path
from zipchat_dagster.build import build_lane
from zipchat_dagster.resources import MetricSettings, SandboxResource, WarehouseResource
from zipchat_dagster.sandbox.chat import Lead
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.export import default_folder, export_tables
from zipchat_dagster_tests.conftest import THOROUGH, Lakes, thorough
from zipchat_dagster_tests.single import LANE, metadata_of
from zipchat_dagster_tests.warehouse.support import Story
from zipchat_dagster_tests.warehouse.test_scrub import holding

KEY: Final = "0123456789abcdef" * 2
TEXT: Final = "Where is my parcel, marked-text-4711?"
ANNA: Final = Lead(11, "Anna", "Marked-Zimt", "marked-anna@example.org", "+49 170 5550123")
MARKS: Final = ("marked-text-4711", "Marked-Zimt", "marked-anna@example.org", "170 5550123")
OTHER: Final = Lead(12, "Otto", "Other", "otto@example.org")


class Shop:
    """A synced chat, with every copy of its tables, and Dagster's storage."""

    def __init__(self, folder: Path, database: str, data_path: str) -> None:
        self.folder = folder
        self.resource = WarehouseResource(database=database, data_path=data_path, pii_key=KEY)
        (folder / "dagster").mkdir()
        self.instance = dg.DagsterInstance.local_temp(str(folder / "dagster"))
        self.story = Story(lambda **options: self.resource.warehouse, begins="2026-03-01")
        for lead in (ANNA, OTHER):
            begun = self.story.start(lead=lead, message=TEXT if lead is ANNA else "Hello")
            self.story.ai(begun)
            self.story.escalate(begun)
        self.story.run()

    @property
    def tables(self) -> Warehouse:
        return self.resource.warehouse

    def run(self, name: str, op: str, **config: Any) -> dg.ExecuteInProcessResult:
        resources = {
            "zipchat": SandboxResource(chat_id="1", start_date="2026-01-01"),
            "metric_settings": MetricSettings(),
            "warehouse": self.resource,
        }
        defs = dg.Definitions.merge(build_lane(LANE), dg.Definitions(resources=resources))
        return defs.resolve_job_def(name).execute_in_process(
            instance=self.instance,
            run_config={"ops": {op: {"config": config}}},
            raise_on_error=False,
        )

    def erase(self, **config: Any) -> dict[str, Any]:
        """The metadata of a run that succeeds."""
        return metadata_of(self.run("erase_lead_job", "erase_lead", **config))

    def failure(self, **config: Any) -> str:
        """The description of a run that fails."""
        result = self.run("erase_lead_job", "erase_lead", **config)
        data = result.failure_data_for_node("erase_lead")
        assert data
        assert data.user_failure_data
        return data.user_failure_data.description or ""

    def copy(self) -> None:
        """Everything that copies the tables, and a run whose config has a text for the lead."""
        self.tables.publish(self.resource.published)
        for _ in range(2):
            export_tables(self.tables, default_folder(self.tables).absolute())
        report_path(self.tables, LANE).write_text("https://share.example.com/c/9e3779b1")
        self.run(
            "send_reply_job", "send_reply", conversation_id=1, sender_id=1, message=f"Re: {TEXT}"
        )

    def marked(self) -> list[str]:
        """The files in which something of her is."""
        return sorted(
            {
                str(path.relative_to(self.folder))
                for mark in MARKS
                for path in holding(mark, self.folder.rglob("*"))
            }
        )


@pytest.fixture(params=["file", "lake"] if THOROUGH else ["file"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "file":
        yield Shop(tmp_path, str(tmp_path / "warehouse.duckdb"), "")
        return
    lakes: Lakes = request.getfixturevalue("lakes")
    name = lakes.create(template="template1")
    yield Shop(tmp_path, lakes.address(name), str(tmp_path / "lake"))
    lakes.drop(name)


@thorough
def test_nothing_of_an_erased_person_is_left_anywhere(shop: Shop) -> None:
    shop.copy()
    marked = shop.marked()
    found = shop.erase(email="Marked-Anna@example.org ")
    assert found["lead_ids"] == [11]
    assert found["conversation_ids"] == [1]
    assert found["rows of raw_messages"] == 2
    assert len(found["runs"]) == 1
    assert "dagster/history/runs.db" in marked

    done = shop.erase(lead_id=11, dry_run=False)
    assert shop.marked() == []
    assert done["runs_deleted"] == 2  # the reply, and the dry run with her address
    assert done["rows of raw_messages"] == 2
    assert done["verification"].endswith("No data of the person is left.")
    ((finished, deleted),) = shop.story.rows(
        "select finished_at is not null, deleted ->> 'raw_messages' from zipchat.erasures"
    )
    assert (finished, deleted) == (True, "2")
    assert shop.story.value("select count(*) from zipchat.raw_messages") == 2
    assert shop.erase(lead_id=11, dry_run=False)["rows of raw_messages"] == 0
    assert shop.run("unsuppress_lead_job", "unsuppress_lead", lead_id=11).success
    assert shop.story.value("select count(*) from zipchat.suppressions") == 0
    assert "erase by lead_id" in shop.failure(email=ANNA.email, dry_run=False)


def not_here(instance: dg.DagsterInstance, run_id: str) -> None:
    raise NotImplementedError


@thorough
def test_places_that_the_erasure_misses_fail_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, str(tmp_path / "warehouse[1].duckdb"), "")
    shop.copy()
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "scrub", lambda tables, replace_copies: {})
        patch.setattr(erase_jobs, "_replace_report", lambda context, lane: None)
        patch.setattr(dg.DagsterInstance, "delete_run", not_here)
        text = shop.failure(lead_id=11, dry_run=False).replace(f"{tmp_path}/", "")
    for place in (
        "warehouse[1].duckdb; ",
        "warehouse[1]_published.duckdb",
        "warehouse[1]_export/raw_messages.parquet",
        "warehouse[1]_export.2",  # the former one, kept for readers
        "warehouse[1]_report.html",
        "dagster/history/runs.db",
        "Dagster's runs (run ",
        "(delete it on its page, once it has ended)",
    ):
        assert place in text
    assert not any(mark in text for mark in MARKS)
    assert shop.story.value("select finished_at from zipchat.erasures") is None
    # The next run knows what to look for, though the rows are gone.
    backup = tmp_path / "warehouse[1].duckdb.bak"
    backup.write_text(TEXT)
    assert f"left in: {backup}." in shop.failure(lead_id=11, dry_run=False)
    backup.unlink()
    done = shop.erase(lead_id=11, dry_run=False)
    assert done["rows of raw_messages"] == 2
    assert shop.marked() == []
