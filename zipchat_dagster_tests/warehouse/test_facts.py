"""`escalations`, `customer_turns`, `sla_events` and `conversation_facts`: stories that a person can
follow, and random histories compared with plain Python."""

from __future__ import annotations

from datetime import date, datetime
from random import Random
from typing import Any

import pytest

from zipchat_dagster.sandbox import Lead, generate
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import FACTS, Rules
from zipchat_dagster_tests.conftest import Open, thorough
from zipchat_dagster_tests.warehouse.facts_by_hand import ByHand, Row
from zipchat_dagster_tests.warehouse.support import ADA, BO, Story, live, moment

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
        pytest.param(1, "UTC", "2026-06-10 15:20", None, marks=[pytest.mark.file, thorough]),
        pytest.param(
            2,
            "America/New_York",
            "2026-03-10 15:20",  # clocks went forward
            "mon-fri 09:00-17:00, sun 00:00-24:00",
            marks=[pytest.mark.file, thorough],
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
        found = story.dicts(f"select * exclude (computed_at) from zipchat.{table}")
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
    leads = [one.lead for one in odd if one.lead]
    for one in odd[:12]:
        one.lead = random.choice(leads[:3])  # returning customers
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
    empty, greeted = story.start(), story.start()
    for key in (empty, greeted):
        chat.conversations[key].messages.clear()
    story.ai(greeted)  # before the customer says anything
    story.sync()
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
    story.customer(brief)
    story.assign(brief, first)
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
    story.customer(late)  # in the second of the end: the AI has the conversation again
    story.ai(late)
    story.sync()
    story.later(minutes=5)
    story.ai(late)
    story.assign(brief, second)  # after the end
    story.customer(brief)
    story.sync()
    story.escalate(brief)
    story.sync()


def assert_same(table: str, found: list[Row], expected: list[Row]) -> None:
    names = ("conversation_id", "escalated_at", "metric", "asked_at", "starts_at", "turn")

    def comparable(rows: list[Row]) -> list[Row]:
        """In order, with times as numbers, which DuckDB and Python round differently."""
        found = [
            {n: v.timestamp() if isinstance(v, datetime) else v for n, v in row.items()}
            for row in rows
        ]
        return sorted(found, key=lambda row: [str(row.get(name)) for name in names])

    assert len(found) == len(expected), table
    for have, want in zip(comparable(found), comparable(expected), strict=True):
        assert have == pytest.approx(want, abs=1e-5), table


# One afternoon: Tuesday, 3 March 2026, in UTC. Agents work from 9 to 17; a first response is due in
# half an hour, a next one in ten minutes, a resolution in two hours.
AFTERNOON = """
03-03 14:00     A start          # Where is my order?             turn 1
03-03 14:00:10  A ai             # It is on its way.
03-03 14:01     A customer       # No, it isn't.                  turn 2
03-03 14:01:30  A customer       # A person, please.              turn 2
03-03 14:02     A escalate, A assign Ada
                A ai             # A colleague will be with you.  no answer: a person has it
                sync
03-03 14:42     A human Ada      # Sorry to keep you waiting.     first response after 2400 s: late
03-03 14:43     A customer       # No problem.                    turn 3
03-03 14:48     A assign Bo
                A human Bo       # Here is your new parcel.       next response after 300 s: in time
                sync
03-03 16:55     A customer       # It is broken.                  turn 4
03-03 17:30     A resolve        # without an answer: after 12480 s, 10680 s of them open
03-03 17:31     A ai             # Anything else?                 answers turn 4
03-03 18:00     A customer       # Hello?                         turn 5
                A assign Cy      # for what comes next; the escalation has ended
03-03 18:30     sync
"""


@pytest.fixture(scope="module")
def afternoon(shared_place: Open) -> Story:
    story = Story(shared_place)
    story.play(AFTERNOON)
    story.derive_facts(
        business_hours=BusinessHours.parse("mon-fri 09:00-17:00", "UTC"),
        response_target_seconds=1800,
        next_response_target_seconds=600,
        resolution_target_seconds=7200,
    )
    return story


def clock(column: str) -> str:
    return f"strftime({column}, '%H:%M:%S')"


def test_the_afternoons_turns(afternoon: Story) -> None:
    assert afternoon.rows(
        f"select turn, {clock('asked_at')}, customer_messages, {clock('answered_at')}, answered_by,"
        f" sender_id, answer_seconds, answer_business_seconds, {clock('escalated_at')}"
        " from zipchat.customer_turns order by turn"
    ) == [
        (1, "14:00:00", 1, "14:00:10", "ai", None, 10, None, None),
        (2, "14:01:00", 2, "14:42:00", "human", ADA, 2460, 2460, None),
        (3, "14:43:00", 1, "14:48:00", "human", BO, 300, 300, "14:02:00"),
        (4, "16:55:00", 1, "17:31:00", "ai", None, 2160, None, "14:02:00"),
        (5, "18:00:00", 1, None, None, None, None, None, None),
    ]


def test_the_afternoons_sla_events(afternoon: Story) -> None:
    assert afternoon.rows(
        f"select metric, agent_id, {clock('starts_at')}, {clock('ended_at')}, is_kept, is_active"
        " from zipchat.sla_events order by metric, starts_at"
    ) == [
        ("first_response", ADA, "14:02:00", "14:42:00", True, False),
        ("next_response", BO, "14:43:00", "14:48:00", True, False),
        ("next_response", BO, "16:55:00", "17:30:00", False, False),
        ("resolution", BO, "14:02:00", "17:30:00", True, False),
    ]
    breaches = afternoon.rows(
        f"select {clock('breach_at')}, elapsed_seconds, is_breached,"
        " strftime(business_breach_at, '%d %H:%M:%S'), elapsed_business_seconds,"
        " is_business_breached from zipchat.sla_events order by metric, starts_at"
    )
    assert breaches == [
        ("14:32:00", 2400, True, "03 14:32:00", 2400, True),
        ("14:53:00", 300, False, "03 14:53:00", 300, False),
        # ten minutes of business time: five on this day, five on the next
        ("17:05:00", 2100, True, "04 09:05:00", 300, False),
        ("16:02:00", 12480, True, "03 16:02:00", 10680, True),
    ]


def test_the_afternoons_escalation(afternoon: Story) -> None:
    assert afternoon.rows(
        "select turns_before, seconds_to_escalation, first_response_seconds,"
        " first_response_business_seconds, resolution_seconds, resolution_business_seconds,"
        " replies, agents, reassignments, customer_wait_seconds, is_one_touch, is_abandoned"
        " from zipchat.escalations"
    ) == [(2, 120, 2400, 2400, 12480, 10680, 2, 2, 1, 2400 + 300 + 2100, False, False)]


def test_the_afternoons_conversation_facts(afternoon: Story) -> None:
    (row,) = afternoon.dicts("select * exclude (computed_at) from zipchat.conversation_facts")
    times = {name: f"{at:%H:%M:%S}" for name, at in row.items() if isinstance(at, datetime)}
    assert times == {
        "created_at": "14:00:00",
        "first_customer_message_at": "14:00:00",
        "last_customer_message_at": "18:00:00",
        "first_human_answer_at": "14:42:00",
        "last_message_at": "18:00:00",
        "first_escalated_at": "14:02:00",
        "last_escalated_at": "14:02:00",
        "last_resolved_at": "17:30:00",
    }
    others = {name: row[name] for name in row if name not in times and "id" not in name}
    assert others == {
        "partition_date": date(2026, 3, 3),
        "channel": "web",
        "is_first_of_lead": None,
        "is_complete": True,
        "customer_messages": 6,
        "ai_messages": 3,
        "human_messages": 2,
        "agents": 2,
        "customer_turns": 5,
        "turns_answered_by_ai": 2,
        "turns_answered_by_human": 2,
        "turns_unanswered": 1,
        "first_ai_answer_seconds": 10,
        "last_author": "customer",
        "escalations": 1,
        "is_open": False,
        "reopened_at": None,
        "reopened_after_seconds": None,
        "is_ai_involved": True,
        "is_automation_pending": False,
        "is_automated": False,
        "repeat_contact_at": None,
    }


def test_a_conversation_counts_as_automated_once_the_customer_has_been_silent_for_long(
    place: Open,
) -> None:
    """And no longer when the customer writes again. A repeat contact counts for seven days."""
    story = Story(place)
    story.at("2026-03-03 10:00")
    lead = Lead(7, "Zoe", "Zipp", "zoe@example.org")
    one = story.start(lead=lead)
    story.later(seconds=5)
    story.ai(one)
    story.sync()

    def state() -> list[tuple[Any, ...]]:
        story.derive_facts(quiet_hours=48)
        return story.rows(
            "select is_automation_pending, is_automated, strftime(repeat_contact_at, '%m-%d %H:%M'),"
            " is_first_of_lead from zipchat.conversation_facts order by conversation_id"
        )

    assert state() == [(True, False, None, True)]
    story.at("2026-03-05 10:00:04")
    assert state() == [(True, False, None, True)]
    story.at("2026-03-05 10:00:05")  # nothing new was stored
    assert state() == [(False, True, None, True)]
    story.at("2026-03-10 10:00:05")
    story.start(lead=lead)
    story.later(hours=1)
    story.sync()
    assert state() == [(False, True, "03-10 10:00", True), (False, False, None, False)]
    story.customer(one)
    story.sync()
    assert state() == [(False, False, None, True), (False, False, None, False)]


def test_an_open_escalation_becomes_late_and_abandoned_as_time_passes(place: Open) -> None:
    story = Story(place)
    story.at("2026-03-03 10:00")
    story.escalate(story.start())
    story.sync()

    def state() -> list[tuple[Any, ...]]:
        story.derive_facts(response_target_seconds=86_400)
        return story.rows(
            "select elapsed_seconds, is_breached, customer_wait_seconds, is_abandoned"
            " from zipchat.sla_events join zipchat.escalations using (conversation_id, escalated_at)"
            " where metric = 'first_response'"
        )

    day = 86_400
    assert state() == [(0, False, 0, False)]
    story.later(hours=24)
    assert state() == [(0, False, 0, False)]  # nothing has changed but durations
    story.later(seconds=1)
    assert state() == [(day + 1, True, day + 1, True)]
