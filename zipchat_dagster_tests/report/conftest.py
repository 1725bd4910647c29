"""A warehouse filled by hand, the frames it was filled with, and Chromium to read its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics
from zipchat_dagster_tests.browser import chromium
from zipchat_dagster_tests.conftest import create_tables

CHAT_ID = 7
ZONE = "Europe/Berlin"  # the clocks change on 29 March 2026
NOW = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)
LAST = date(2026, 3, 31)
FIRST = LAST - timedelta(days=29)
HISTORY = 75  # days before NOW
AGENTS = {1: "Ada Agent", 2: "Bo Agent", 3: "Chloé Agent"}
GONE = {4: "Dana Gone"}  # no longer listed, known from a conversation


@dataclass(frozen=True)
class World:
    """What the warehouse holds."""

    warehouse: Warehouse
    conversations: pd.DataFrame
    messages: pd.DataFrame
    escalations: pd.DataFrame
    facts: pd.DataFrame


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Five hundred conversations of 75 days, one in four escalated. Do not change it."""
    warehouse = Warehouse(tmp_path_factory.mktemp("report") / "zipchat.duckdb", timezone=ZONE)
    conversations, messages, escalations = _invented(Random(11))
    facts = _facts(Random(12), conversations, messages, escalations)
    users = pd.DataFrame(
        {"chat_id": CHAT_ID, "user_id": list(AGENTS), "full_name": AGENTS.values()}
    )
    fill(
        warehouse,
        raw_conversations=conversations,
        raw_messages=messages,
        escalations=escalations,
        users=users,
        conversation_facts=facts,
        sla_events=_promises(escalations),
        listing_coverage=pd.DataFrame([{"chat_id": CHAT_ID, "as_of": NOW}]),
    )
    days = [f"{LAST - timedelta(days=n)}" for n in reversed(range(HISTORY))]
    rebuild_metrics(warehouse, chat_id=CHAT_ID, days=days, now=NOW, rules=Rules())
    return World(warehouse, conversations, messages, escalations, facts)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def empty(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "empty.duckdb", timezone=ZONE)


def fill(warehouse: Warehouse, **frames: pd.DataFrame) -> None:
    """Add the rows of each frame to the table of its name."""
    create_tables(warehouse)
    with warehouse.connection() as connection:
        for table, frame in frames.items():
            connection.register("frame", frame)
            connection.execute(f"insert into zipchat.{table} by name select * from frame")


def _invented(random: Random) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Conversations, messages and escalations."""
    conversations, messages, escalations = [], [], []
    for number in range(1, 501):
        conversation, is_escalated = _conversation(random, number)
        conversations.append(conversation)
        at = begun = conversation["created_at"]
        for n in range(random.randrange(1, 4)):
            messages.append(_message(conversation, begun + timedelta(minutes=7 * n)))
        while is_escalated and (at := at + timedelta(minutes=random.randrange(1, 3000))) < NOW:
            escalation = _escalation(random, conversation, at)
            escalations.append(escalation)
            if response := escalation["first_response_at"]:
                responder = escalation["first_responder_id"]
                messages.append(_message(conversation, response, responder, is_human=True))
            is_escalated = random.random() < 0.2
    for number, message in enumerate(messages):
        message["message_id"] = number
    return (
        _typed(conversations, "created_at"),
        _typed(messages, "created_at"),
        _typed(escalations, "escalated_at"),
    )


def _conversation(random: Random, number: int) -> tuple[dict[str, Any], bool]:
    """A conversation, and whether it is escalated."""
    created_at = NOW - timedelta(seconds=random.randrange(3600, (HISTORY - 1) * 86_400))
    channel = random.choice(["web", "web", "email", "whatsapp", None])
    is_escalated = random.random() < 0.25
    assignee_id = random.choice([None, 1, 2, 3, 4]) if is_escalated else None
    is_missing = random.random() < 0.03
    conversation = {
        "conversation_id": number,
        "created_at": created_at,
        "channel": channel,
        "assignee_id": assignee_id,
        "assignee_name": (AGENTS | GONE).get(assignee_id or 0),
        "share_url": f"https://share.example.com/c/{number}",
        "missing_since": created_at + timedelta(days=5) if is_missing else None,
        "observed_at": NOW,
    }
    return conversation, is_escalated


def _message(
    conversation: dict[str, Any],
    at: datetime,
    sender_id: int | None = None,
    *,
    is_human: bool = False,
) -> dict[str, Any]:
    return {
        "conversation_id": conversation["conversation_id"],
        "role": "assistant" if is_human else "user",
        "manual_reply": is_human,
        "sender_id": sender_id,
        "created_at": at,
    }


def _escalation(random: Random, conversation: dict[str, Any], at: datetime) -> dict[str, Any]:
    """It may be answered, and then resolved, before NOW, or followed by another one."""
    response = at + timedelta(seconds=int(60 * 1.5 ** random.uniform(0, 18)))
    is_answered = random.random() < 0.8 and response < NOW
    resolved = response + timedelta(minutes=random.randrange(1, 6000))
    is_resolved = is_answered and random.random() < 0.8 and resolved < NOW
    assignee_id = conversation["assignee_id"]
    responder = (assignee_id or random.choice([1, 2, None])) if is_answered else None
    is_superseded = not is_resolved and random.random() < 0.2
    resolved_at = resolved if is_resolved else None
    superseded_at = min(at + timedelta(days=2), NOW) if is_superseded else None
    ends = [end for end in (resolved_at, superseded_at, conversation["missing_since"]) if end]
    return {
        "conversation_id": conversation["conversation_id"],
        "escalated_at": at,
        "resolved_at": resolved_at,
        "channel": conversation["channel"],
        "assignee_id": assignee_id,
        "first_response_at": response if is_answered else None,
        "first_responder_id": responder,
        "superseded_at": superseded_at,
        "ended_at": min(ends, default=None),
        "is_open": not ends,
    }


def _facts(
    random: Random, conversations: pd.DataFrame, messages: pd.DataFrame, escalations: pd.DataFrame
) -> pd.DataFrame:
    facts = conversations[["chat_id", "conversation_id", "partition_date", "created_at", "channel"]]
    ids = facts["conversation_id"]
    human = messages[messages["manual_reply"]].groupby("conversation_id").size()
    last = messages.groupby("conversation_id")["created_at"].max()
    involved = pd.Series([random.random() < 0.9 for _ in ids])
    facts = facts.assign(
        human_messages=ids.map(human).fillna(0).astype(int),
        escalations=ids.map(escalations.groupby("conversation_id").size()).fillna(0).astype(int),
        is_ai_involved=involved,
        first_ai_answer_seconds=[float(random.randrange(2, 90)) for _ in ids],
        last_message_at=ids.map(last),
        lead_id=pd.array([random.choice([None, 1, 2, 3]) for _ in ids], dtype="Int64"),
    )
    facts["first_ai_answer_seconds"] = facts["first_ai_answer_seconds"].where(involved)
    is_alone = involved & (facts["human_messages"] + facts["escalations"] == 0)
    is_quiet = facts["last_message_at"] + timedelta(days=3) <= NOW
    repeated = pd.Series([random.random() < 0.2 for _ in ids]) & is_alone & is_quiet
    return facts.assign(
        is_automated=is_alone & is_quiet,
        is_automation_pending=is_alone & ~is_quiet,
        repeat_contact_at=facts["last_message_at"].where(repeated & facts["lead_id"].notna()),
    )


def _promises(escalations: pd.DataFrame) -> pd.DataFrame:
    """Who waits: for the first answer, and each fourth of the answered for a further one."""
    waiting = escalations[escalations["is_open"]].copy()
    is_answered = waiting["first_response_at"].notna()
    waiting["metric"] = is_answered.map({True: "next_response", False: "first_response"})
    waiting["starts_at"] = waiting["first_response_at"].fillna(waiting["escalated_at"])
    waiting["agent_id"] = waiting["assignee_id"].fillna(waiting["first_responder_id"])
    waiting["is_active"] = True
    waiting["breach_at"] = waiting["starts_at"] + timedelta(hours=1)
    columns = ["chat_id", "conversation_id", "escalated_at", "metric", "channel", "agent_id"]
    waiting = waiting[~is_answered | (waiting["conversation_id"] % 4 == 0)]
    return waiting[[*columns, "starts_at", "breach_at", "is_active"]]


def _typed(rows: list[dict], moment: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for name in frame.columns:
        if name.endswith(("_at", "_since")):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        if name.endswith("_id"):
            frame[name] = frame[name].astype("Int64")
    frame["chat_id"] = CHAT_ID
    frame["partition_date"] = frame[moment].dt.tz_convert(ZONE).dt.date
    return frame
