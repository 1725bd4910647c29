"""A whole run through Dagster: personal data is only where it belongs, in each mode."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import duckdb
import pytest

from zipchat_dagster.database_jobs import export_job, publish_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import MetricSettings, WarehouseResource
from zipchat_dagster.sandbox import Chat, Request, Sandbox, User, serve
from zipchat_dagster.sandbox.chat import Lead
from zipchat_dagster_tests.conftest import NOW, thorough
from zipchat_dagster_tests.single import ASSETS, CHECKS, api_at, metadata_of

KEY: Final = "marked-pii-key-" * 3
# Of a customer and an agent, in undocumented fields, and in records without an id.
MARKS: Final = (
    "Adelheid Quillfeather",
    "adelheid.quill@example.com",
    "+49 170 5550199",
    "attribute-of-adelheid",
    "Please, where is Adelheid's order?",
    "share.example.com/c/marked",
    "Agentia Bellweather",
    "agentia@example.com",
    "avatars.example.com/agentia",
    "surprise-of-adelheid",
    "rejected-of-adelheid",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    first, last = MARKS[6].split()
    agent = User(1, first, last, MARKS[7], avatar_url=f"https://{MARKS[8]}.png")
    sandbox = Sandbox(chat=Chat(users={1: agent}), limit=None)
    chat = sandbox.chat
    first, last = MARKS[0].split()
    lead = Lead(3, first, last, MARKS[1], MARKS[2], additional_attributes={"note": MARKS[3]})
    conversation = chat.add_conversation(at=NOW, lead=lead)
    chat.add_message(conversation.id, at=NOW, message=MARKS[4])
    chat.escalate(conversation.id, at=NOW)
    chat.assign(conversation.id, 1, at=NOW)

    def alter(request: Request, payload: dict[str, Any]) -> dict[str, Any]:
        odd = {"id": None, "nickname": MARKS[10]}
        for name in ("users", "conversations"):
            if name in payload:
                payload[name] = [*({**row, "new": [MARKS[9]]} for row in payload[name]), odd]
        for row in (*payload.get("conversations", ()), payload.get("conversation", {})):
            row["share_url"] = f"https://{MARKS[5]}"
        if "conversation" in payload:
            messages = payload["conversation"]["messages"]
            messages[:] = [*({**row, "new": {MARKS[9]: 1}} for row in messages), odd]
        return payload

    sandbox.alter = alter
    with serve(sandbox) as address:
        yield address


class Runs:
    """Runs of everything, which leave all that they store below one folder."""

    def __init__(self, folder: Path, url: str, instance: dg.DagsterInstance) -> None:
        self.data = folder / "data"
        self.url = url
        self.instance = instance

    def warehouse(self, mode: str) -> WarehouseResource:
        modes: dict[str, Any] = {"pii_identity": mode, "pii_content": mode, "pii_attributes": mode}
        database = str(self.data / "warehouse.duckdb")
        return WarehouseResource(database=database, pii_key=KEY, **modes)

    def sync(self, mode: str, selection: dg.AssetSelection | None = None) -> Any:
        """Returns how many rows were rewritten, as the metadata of `users` has it."""
        result = dg.materialize(
            [*ASSETS, *CHECKS],
            selection=selection,
            partition_key=None if selection else f"{NOW:%Y-%m-%d}",
            resources={
                "zipchat": api_at(self.url, self.data),
                "warehouse": self.warehouse(mode),
                "metric_settings": MetricSettings(),
            },
            instance=self.instance,
            raise_on_error=False,
        )
        assert result.get_failed_step_keys() == set()
        return metadata_of(result, "users").get("rows_rewritten")

    def copy(self, mode: str) -> None:
        """Publish and export the tables."""
        for job in (publish_job(Lane()), export_job(Lane())):
            jobs = dg.Definitions(jobs=[job], resources={"warehouse": self.warehouse(mode)})
            resolved = jobs.resolve_job_def(job.name)
            assert resolved.execute_in_process(instance=self.instance).success


@thorough
@pytest.mark.parametrize("mode", ["keep", "hash", "drop"])
def test_personal_data_is_only_where_it_belongs(
    tmp_path: Path,
    url: str,
    mode: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        runs = Runs(tmp_path, url, instance)
        if mode == "keep":
            assert runs.sync(mode) is None
            runs.copy(mode)
        else:  # from a database that holds all of it
            assert runs.sync("keep", dg.AssetSelection.assets("users").without_checks()) is None
            assert b"Agentia" in (runs.data / "warehouse.duckdb").read_bytes()
            runs.copy("keep")  # which the next run replaces
            assert runs.sync(mode) == {"users": 1, "rejected_records": 1}
    files = {path: content(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert len([path for path in files if home in path.parents]) > 3
    assert {path.suffix for path in files} >= {".duckdb", ".parquet", ".html", ".sqlite"}
    files[tmp_path / "printed"] = "".join(capfd.readouterr()) + caplog.text
    found = {path.name: sorted(m for m in MARKS if m in text) for path, text in files.items()}
    found = {name: marks for name, marks in found.items() if marks}
    if mode != "keep":
        assert found == {}
        assert not re.search("h1:[0-9a-f]{4}:", files[runs.data / "warehouse_report.html"])
        return
    # The report has the agents' names and the links into Zipchat.
    assert found.pop("warehouse_report.html") == sorted([MARKS[5], MARKS[6]])
    assert found["warehouse.duckdb"] == sorted(MARKS)
    assert found["warehouse_published.duckdb"] == sorted(MARKS)
    assert {Path(name).suffix for name in found} == {".duckdb", ".parquet"}


def content(path: Path) -> str:
    """What is in a file, which may be compressed."""
    plain = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".parquet":
        return plain + str(duckdb.sql(f"from '{path}'").fetchall())
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.sql("select table_name from duckdb_tables()").fetchall()
            for (table,) in tables:
                plain += str(connection.sql(f"from zipchat.{table}").df().to_dict())
    return plain
