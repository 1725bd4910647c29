"""Runs that compute what has changed, against one that computes everything."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from zipchat_dagster.sandbox import generate
from zipchat_dagster.warehouse import derive
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster_tests.conftest import Open, Project, killed_after, thorough
from zipchat_dagster_tests.warehouse.support import ADA, Story, days_between, live, moment

DERIVED = [*derive.FACTS, "escalation_metrics", "activity_by_hour"]


# The durations of what is still open depend on computed_at.
ENDED = {
    "escalations": """replace (
        if(is_open or first_response_at is null, null, customer_wait_seconds) as customer_wait_seconds
    )""",
    "sla_events": """replace (
        if(is_active, null, elapsed_seconds) as elapsed_seconds,
        if(is_active, null, elapsed_business_seconds) as elapsed_business_seconds
    )""",
}


def derived_rows(project: Project) -> dict[str, list[Any]]:
    """All that is derived, but for when it was."""
    return {
        table: sorted(
            project.rows(
                f"select * exclude (computed_at) {ENDED.get(table, '')} from zipchat.{table}"
            ),
            key=str,
        )
        for table in DERIVED
    }


@pytest.mark.parametrize("seed", [pytest.param(0, marks=[pytest.mark.file, thorough]), 1])
def test_incremental_runs_give_the_same_as_one_run_from_scratch(
    place: Open, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derive, "DAYS_AT_ONCE", 4)
    monkeypatch.setattr(derive, "CONVERSATIONS_AT_ONCE", 10)
    random = Random(seed)
    zone = ("UTC", "Europe/Berlin")[seed % 2]
    chat = generate(seed=seed, conversations=15, days=5, now=moment("2026-03-20 12:00"))
    story = Story(place, chat=chat, timezone=zone, begins="2026-03-10")
    story.at("2026-03-20 12:00")
    story.sync()
    settings: dict[str, Any] = {"quiet_hours": 20}
    story.derive(*days_between("2026-03-14", "2026-03-20"), **settings)
    for step in range(6):
        live(story, random)
        story.sync(refresh=random.random() < 0.4)
        if step == 1:
            hours = BusinessHours.parse("mon-fri 09:00-17:00", zone)
            settings |= {"business_hours": hours, "response_target_seconds": 40_000}
        match random.randrange(4):
            case 0:
                pass  # a run that only syncs
            case 1:
                story.derive_facts(**settings)
            case 2:
                story.derive("2026-03-13", "2026-03-18", **settings)
            case 3:
                story.derive(**settings)
    story.derive(**settings)
    found = derived_rows(story)
    days = story.rows("select distinct partition_date::varchar from zipchat.escalation_metrics")

    for table in (*DERIVED, "stale_days", "changed_conversations"):
        story.rows(f"delete from zipchat.{table}")
    story.rows("delete from zipchat.warehouse_settings where name <> 'timezone'")
    story.derive(*sorted(day for (day,) in days), **settings)
    again = derived_rows(story)
    for table in DERIVED:
        assert again[table] == found[table], table

    rates = story.frame("select columns('.*_rate') from zipchat.escalation_metrics")
    assert ((rates >= 0) & (rates <= 1) | rates.isna()).all(axis=None)
    assert rates.notna().any().all()


def test_a_run_that_was_killed_leaves_the_rest_to_the_next(
    place: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(place)
    days = days_between("2026-03-02", "2026-03-05")
    for day in days:
        story.at(f"{day} 10:00")
        story.escalate(story.start())
    story.sync()
    story.derive(*days)
    for conversation_id in story.chat.conversations:
        story.human(conversation_id, ADA)
    story.later(minutes=1)
    story.sync()
    monkeypatch.setattr(derive, "DAYS_AT_ONCE", 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(derive, "_compute", killed_after(2, derive._compute))
        story.derive()
    assert story.derive() == ["2026-03-04", "2026-03-05"]
    assert [story.metrics(day)["unanswered"] for day in days] == [0, 0, 0, 0]


def test_the_columns_of_an_older_database_are_added(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    story.escalate(story.start())
    story.run()
    for statement in (
        "alter table zipchat.escalations drop column ended_at",
        "alter table zipchat.escalation_metrics drop column pending_within_target",
        "drop table zipchat.changed_conversations",
        "drop table zipchat.stale_days",
        "delete from zipchat.warehouse_settings where name <> 'timezone'",
    ):
        story.rows(statement)
    story.warehouse = place()
    story.later(minutes=5)
    story.resolve(next(iter(story.chat.conversations)))
    story.sync()
    assert story.derive(response_target_seconds=60) == ["2026-03-03"]
    assert story.escalations("ended_at", "is_open") == [("03-03 10:05:00", False)]
    assert story.metrics("2026-03-03")["pending_within_target"] == 0


def test_deriving_from_scratch_restores_deleted_facts(place: Open) -> None:
    story = Story(place)
    story.play("""
        03-03 10:00     A start, A escalate, A human Ada, A customer, B start, B escalate
        03-03 11:00     A human Bo, A resolve, sync
    """)
    story.derive()
    before = story.derived()
    for table in derive.FACTS:
        assert before[table]
        story.rows(f"delete from zipchat.{table}")
    story.derive_again()
    assert story.derived() == before
