"""`escalations`, `customer_turns`, `sla_events` and `conversation_facts`: stories that a person can
follow, and random histories computed once more in plain Python."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any

import pytest

from zipchat_dagster.sandbox import generate
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import FACTS, Rules
from zipchat_dagster_tests.conftest import Open
from zipchat_dagster_tests.warehouse.facts_by_hand import ByHand, Row, dicts
from zipchat_dagster_tests.warehouse.support import Story, live, moment

# What must occur among the seeds, or the comparison would prove little.
RARE = {
    "escalations": [
        "superseded_at is not null",
        "is_abandoned and is_open",
        "is_abandoned and not is_open",
        "is_one_touch",
        "reassignments > 0",
        "agents > 1",
        "first_response_business_seconds < first_response_seconds",
        "first_response_at > ended_at",
    ],
    "customer_turns": [
        "customer_messages > 1",
        "answered_by = 'ai' and escalated_at is not null",
        "answered_by = 'human' and escalated_at is null",
        "answered_by is null",
        "answered_at = asked_at",
    ],
    "sla_events": [
        "metric = 'next_response' and is_kept",
        "metric = 'next_response' and is_active",
        "metric = 'next_response' and not is_kept and not is_active",
        "is_breached and is_kept",
        "is_breached and not is_business_breached",
        "is_active and not is_breached",
        "business_breach_at > breach_at + interval 1 day",
    ],
    "conversation_facts": [
        "is_automated",
        "is_automation_pending",
        "repeat_contact_at is not null",
        "is_automated and lead_id is not null and repeat_contact_at is null",
        "not is_first_of_lead",
        "reopened_at is not null",
        "last_message_at is null",
        "last_author is null and last_message_at is not null",
        "turns_answered_by_ai > 0 and turns_answered_by_human > 0 and turns_unanswered > 0",
    ],
}


@pytest.mark.parametrize(
    ("seed", "zone", "now", "office"),
    [
        pytest.param(1, "UTC", "2026-06-10 15:20", None, marks=pytest.mark.file),
        pytest.param(
            2,
            "America/New_York",
            "2026-03-10 15:20",  # clocks went forward
            "mon-fri 09:00-17:00, sun 00:00-24:00",
            marks=pytest.mark.file,
        ),
        (3, "Europe/Berlin", "2026-10-26 23:30", "mon-fri 09:00-17:00, sat-sun 01:30-04:00"),
    ],
)
def test_plain_python_computes_the_same_for_random_histories(
    place: Open, seed: int, zone: str, now: str, office: str | None
) -> None:
    story = history(place, seed, zone, now)
    settings: dict[str, Any] = {"quiet_hours": 20}
    if office:
        settings |= {
            "business_hours": BusinessHours.parse(office, zone),
            "response_target_seconds": 3600,
            "next_response_target_seconds": 900.5,
            "resolution_target_seconds": 100_000,
        }
    story.derive_facts(**settings)
    by_hand = ByHand(story, Rules(**settings), office)
    for table in FACTS:
        found = dicts(story, table, but=["computed_at"])
        assert_same(table, found, by_hand.tables[table])
    if office:
        absent = [
            f"{table}: {condition}"
            for table, conditions in RARE.items()
            for condition in conditions
            if not story.value(f"select count(*) from zipchat.{table} where {condition}")
        ]
        assert not absent, "\n".join(absent)


def history(place: Open, seed: int, zone: str, now: str) -> Story:
    """Three days of a small chat and what follows, looked at now and then."""
    random = Random(seed)
    chat = generate(seed=seed, conversations=60, days=5, now=moment(now), max_messages=30)
    odd = list(chat.conversations.values())
    for conversation in odd[::9]:
        conversation.messages[-1].role = None  # type: ignore[assignment]  # the API may do so
        for message in conversation.messages[::2]:
            message.sender_id = None
    odd[3].messages.clear()
    leads = [one.lead for one in odd if one.lead]
    for one in odd[:12]:
        one.lead = random.choice(leads[:3])  # they come back
    story = Story(
        place,
        chat=chat,
        timezone=zone,
        begins=f"{moment(now):%Y}-01-02",
        reescalation_resolved="keep" if seed % 2 else "clear",
    )
    story.at(now)
    story.sync()
    rare(story)
    for _ in range(5):
        live(story, random)
        story.sync(refresh=True)
    story.later(hours=3)
    return story


def rare(story: Story) -> None:
    """What random histories do not show reliably."""
    first, second = list(story.chat.users)[:2]
    for _ in range(3):  # one of them stays silent to the end
        story.escalate(story.start())
    talk, brief, waiting, late = (story.start("email") for _ in range(4))
    for one in (talk, brief, waiting, late):
        story.escalate(one)
    story.sync()
    for agent in (first, second):
        story.assign(talk, agent)
        story.human(talk, agent)
        story.sync()
        story.later(minutes=5)
        story.customer(talk)
    story.human(brief, first)
    story.escalate(waiting)
    story.customer(late)
    story.later(minutes=5)
    story.human(waiting, first)
    story.resolve(brief)
    story.resolve(late)
    story.sync()
    story.later(minutes=5)
    story.ai(late)
    story.escalate(brief)
    story.sync()


def assert_same(table: str, found: list[Row], expected: list[Row]) -> None:
    def ordered(rows: list[Row]) -> list[Row]:
        return sorted(
            rows,
            key=lambda row: [
                str(row.get(name))
                for name in (
                    "conversation_id",
                    "escalated_at",
                    "metric",
                    "asked_at",
                    "starts_at",
                    "turn",
                )
            ],
        )

    assert len(found) == len(expected), table
    for have, want in zip(ordered(found), ordered(expected), strict=True):
        assert set(have) == set(want), table
        for name, value in want.items():
            context = f"{table}.{name} of {have}"
            if isinstance(value, float) and not isinstance(have[name], bool):
                assert have[name] == pytest.approx(value, abs=1e-5), context
            elif isinstance(value, datetime) and isinstance(have[name], datetime):
                assert abs((have[name] - value).total_seconds()) < 1e-5, context
            else:
                assert have[name] == value, context
