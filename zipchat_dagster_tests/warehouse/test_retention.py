"""Old texts are removed, and no count changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from zipchat_dagster.build import build_definitions
from zipchat_dagster.build import warehouse as build_warehouse
from zipchat_dagster.chats import load_chats
from zipchat_dagster.database_jobs import retention_job
from zipchat_dagster.lanes import Lane
from zipchat_dagster.resources import WarehouseResource
from zipchat_dagster.settings import Settings
from zipchat_dagster.warehouse import Warehouse, retention
from zipchat_dagster.warehouse.privacy import Privacy
from zipchat_dagster.warehouse.retention import redact_old_texts
from zipchat_dagster_tests.conftest import Open, killed_after
from zipchat_dagster_tests.single import metadata_of
from zipchat_dagster_tests.warehouse.support import ADA, Story

DAYS: Final = 30
LEFT: Final = "select count(*) from zipchat.raw_messages where message is not null"
OLD: Final = "a text of long ago, marked-8812"


def lived(place: Open, **options: Any) -> Story:
    """Eight conversations in forty days; two of them are older than DAYS at the end."""
    story = Story(lambda **given: place(**options, **given), begins="2026-01-01")
    for day in range(0, 40, 5):
        story.at("2026-01-01")
        story.later(days=day, hours=10)
        begun = story.start(message=OLD if day < 10 else "a new one")
        story.ai(begun)
        story.escalate(begun)
        story.later(minutes=7)
        story.assign(begun, ADA)
        story.human(begun, ADA)
        story.resolve(begun)
    story.later(hours=1)
    story.run()
    return story


def test_old_texts_are_removed_and_metrics_stay(
    place: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = lived(place)
    story.derive_again()
    before = story.derived()
    ((payload,),) = story.rows("select payload from zipchat.raw_messages where message_id = 1")
    tables = place(privacy=Privacy(retention_days=DAYS))
    assert story.value(LEFT) == 24
    # A run that is killed has removed some, and the next one goes on.
    monkeypatch.setattr(retention, "MESSAGES_AT_ONCE", 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retention, "_redact", killed_after(2, retention._redact))
        redact_old_texts(tables, now=story.now)
    assert story.value(LEFT) == 20
    assert redact_old_texts(tables, now=story.now) == 2
    assert tables.scrub()
    assert redact_old_texts(tables, now=story.now) == 0
    assert not tables.scrub()

    cutoff = f"timestamptz '{story.now - timedelta(days=DAYS)}'"
    assert story.value(LEFT) == 18
    gone = "message is null and message_text is null and redacted_at is not null"
    assert story.value(
        f"select bool_and(({gone}) = (created_at < {cutoff})) from zipchat.raw_messages"
    )
    ((redacted,),) = story.rows("select payload from zipchat.raw_messages where message_id = 1")
    assert json.loads(redacted) == {**json.loads(payload), "message": None}
    story.derive_again()
    assert story.derived() == before


def test_a_message_read_after_the_retention_period_is_stored_without_its_text(place: Open) -> None:
    kept, story = (
        lived(place),
        lived(lambda **given: place("other", **given), privacy=Privacy(retention_days=DAYS)),
    )
    for _ in range(2):
        assert story.value(LEFT) == 18
        assert story.value("select count(redacted_at) from zipchat.raw_messages") == 6
        assert story.derived() == kept.derived()
        story.sync(refresh=True)
    # Without the setting, reading it again brings it back.
    story.warehouse = place("other")
    story.sync(refresh=True)
    story.assert_tables_agree()
    assert story.value("select count(redacted_at) from zipchat.raw_messages") == 0


@pytest.mark.file
def test_the_job_removes_it_from_the_disk_and_the_copies(tmp_path: Any) -> None:
    path = tmp_path / "warehouse.duckdb"
    lived(lambda **given: Warehouse(path, **given))
    published = tmp_path / "warehouse_published.duckdb"
    resource = WarehouseResource(database=str(path), retention_days=DAYS)
    for days, is_there in ((None, True), (DAYS, False)):
        resource = WarehouseResource(database=str(path), retention_days=days)
        resource.warehouse.publish(published)
        assert retention_job(Lane()).execute_in_process(resources={"warehouse": resource}).success
        assert [OLD.encode() in file.read_bytes() for file in (path, published)] == [is_there] * 2


@pytest.mark.file
def test_the_job_deletes_old_write_back_runs(tmp_path: Path) -> None:
    """From the file too in which Dagster keeps the configs of runs."""
    settings = Settings.from_environment(
        {
            "ZIPCHAT_DATABASE": str(tmp_path / "warehouse.duckdb"),
            "ZIPCHAT_RETENTION_DAYS": str(DAYS),
        }
    )
    definitions = build_definitions(settings, load_chats(settings, {}))
    job = definitions.resolve_job_def("retention_job")
    ended, running = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED
    runs = {
        (name, days, status): f"marked-{name}-{days}-{status.value}"
        for name in ("send_reply_job", "sync_job")
        for days in (DAYS + 1, DAYS - 1)
        for status in (ended, running)
    }
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for (name, days, status), text in runs.items():
            config = {"ops": {"send_reply": {"config": {"message": text}}}}
            tags = definitions.resolve_job_def(name).tags
            run = dg.DagsterRun(job_name=name, status=status, run_config=config, tags=tags)
            created_at = datetime.now(UTC) - timedelta(days=days)
            instance.run_storage.add_historical_run(run, created_at)
        found = job.execute_in_process(instance=instance)
        assert metadata_of(found)["runs_deleted"] == 1
    del runs["send_reply_job", DAYS + 1, ended]
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("runs.db*"))
    assert stored.count(b"marked-send_reply_job-31-SUCCESS") == 0
    assert all(text.encode() in stored for text in runs.values())


@pytest.mark.parametrize(("days", "status"), [("30", "RUNNING"), ("", "STOPPED")])
def test_the_schedule_is_on_if_texts_are_to_be_removed(days: str, status: str) -> None:
    settings = Settings.from_environment({"ZIPCHAT_RETENTION_DAYS": days})
    schedule = build_definitions(settings, []).resolve_schedule_def("retention_schedule")
    assert schedule.default_status.value == status
    assert build_warehouse(settings).retention_days == (int(days) if days else None)
