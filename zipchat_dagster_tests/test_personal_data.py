"""A whole run through Dagster: what is said of people is only where it belongs, in each mode."""

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
from zipchat_dagster.resources import MetricSettings, WarehouseResource, ZipchatResource
from zipchat_dagster.sandbox import DEFAULT_KEY, Chat, Request, Sandbox, User, serve
from zipchat_dagster.sandbox.chat import Lead
from zipchat_dagster_tests.conftest import NOW, thorough
from zipchat_dagster_tests.single import ASSETS, CHECKS

KEY: Final = "marked-pii-key-" * 3
# Of a customer, an agent, in fields that nobody has listed, and of records without an id.
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


@thorough
@pytest.mark.parametrize("mode", ["keep", "hash", "drop"])
def test_what_is_said_of_people_is_only_where_it_belongs(
    tmp_path: Path,
    url: str,
    mode: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    zipchat = ZipchatResource(
        api_key=DEFAULT_KEY,
        chat_id="1",
        base_url=url,
        budget_database=str(data / "budget.sqlite"),
    )

    def warehouse(mode: str) -> WarehouseResource:
        modes: dict[str, Any] = {"pii_identity": mode, "pii_content": mode, "pii_attributes": mode}
        return WarehouseResource(database=str(data / "warehouse.duckdb"), pii_key=KEY, **modes)

    def run(mode: str, selection: dg.AssetSelection | None = None) -> Any:
        """Returns what the metadata of `users` says of rewriting."""
        result = dg.materialize(
            [*ASSETS, *CHECKS],
            selection=selection,
            partition_key=None if selection else f"{NOW:%Y-%m-%d}",
            resources={
                "zipchat": zipchat,
                "warehouse": warehouse(mode),
                "metric_settings": MetricSettings(),
            },
            instance=instance,
            raise_on_error=False,
        )
        assert result.get_failed_step_keys() == set()
        (event,) = result.asset_materializations_for_node("users")
        return {name: value.value for name, value in event.metadata.items()}.get("rows_rewritten")

    def copy(mode: str) -> None:
        for job in (publish_job(Lane()), export_job(Lane())):
            jobs = dg.Definitions(jobs=[job], resources={"warehouse": warehouse(mode)})
            assert jobs.resolve_job_def(job.name).execute_in_process(instance=instance).success

    with dg.DagsterInstance.local_temp(str(home)) as instance:
        if mode != "keep":
            users = dg.AssetSelection.assets("users").without_checks()
            assert run("keep", users) is None
            assert b"Agentia" in (data / "warehouse.duckdb").read_bytes()
            copy("keep")  # which the next run replaces
        rewritten = run(mode)
        assert rewritten == (None if mode == "keep" else {"users": 1, "rejected_records": 1})
        if mode == "keep":
            copy(mode)
    files = {path: content(path) for path in tmp_path.rglob("*") if path.is_file()}
    files[tmp_path / "printed"] = "".join(capfd.readouterr()) + caplog.text
    assert len([path for path in files if home in path.parents]) > 3
    assert {path.suffix for path in files} >= {".duckdb", ".parquet", ".html", ".sqlite"}
    found = {path.name: sorted(m for m in MARKS if m in text) for path, text in files.items()}
    found = {name: marks for name, marks in found.items() if marks}
    report = files[data / "warehouse_report.html"]
    if mode != "keep":
        assert found == {}
        assert not re.search("h1:[0-9a-f]{4}:", report)
    else:
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
