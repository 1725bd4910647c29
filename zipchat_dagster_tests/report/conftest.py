"""A warehouse filled by hand, and the frames it was filled with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_metrics

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


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Five hundred conversations of 75 days, one in four escalated. Do not change it."""
    warehouse = Warehouse(tmp_path_factory.mktemp("report") / "zipchat.duckdb", timezone=ZONE)
    conversations, messages, escalations = _invented(Random(11))
    users = pd.DataFrame(
        {"chat_id": CHAT_ID, "user_id": list(AGENTS), "full_name": AGENTS.values()}
    )
    fill(
        warehouse,
        raw_conversations=conversations,
        raw_messages=messages,
        escalations=escalations,
        users=users,
    )
    days = [f"{LAST - timedelta(days=n)}" for n in reversed(range(HISTORY))]
    rebuild_metrics(warehouse, chat_id=CHAT_ID, days=days, now=NOW, rules=Rules())
    return World(warehouse, conversations, messages, escalations)


@pytest.fixture
def empty(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "empty.duckdb", timezone=ZONE)


def fill(warehouse: Warehouse, **frames: pd.DataFrame) -> None:
    """Add the rows of each frame to the table of its name."""
    with warehouse.transaction():
        pass  # makes the tables
    with warehouse.connection() as connection:
        for table, frame in frames.items():
            connection.register("frame", frame)
            connection.execute(f"insert into zipchat.{table} by name select * from frame")


def _invented(random: Random) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    conversations, messages, escalations = [], [], []
    for conversation_id in range(1, 501):
        created_at = NOW - timedelta(seconds=random.randrange(3600, (HISTORY - 1) * 86_400))
        channel = random.choice(["web", "web", "email", "whatsapp", None])
        is_escalated = random.random() < 0.25
        assignee_id = random.choice([None, 1, 2, 3, 4]) if is_escalated else None
        is_missing = random.random() < 0.03
        conversations.append(
            {
                "conversation_id": conversation_id,
                "created_at": created_at,
                "channel": channel,
                "assignee_id": assignee_id,
                "assignee_name": (AGENTS | GONE).get(assignee_id or 0),
                "missing_since": created_at + timedelta(days=5) if is_missing else None,
                "observed_at": NOW,
            }
        )
        times = [created_at + timedelta(minutes=7 * n) for n in range(random.randrange(1, 4))]
        written: list[tuple[datetime, int | None, bool]] = [(at, None, False) for at in times]
        at = created_at
        while is_escalated and (at := at + timedelta(minutes=random.randrange(1, 3000))) < NOW:
            response = at + timedelta(seconds=int(60 * 1.5 ** random.uniform(0, 18)))
            is_answered = random.random() < 0.8 and response < NOW
            resolved = response + timedelta(minutes=random.randrange(1, 6000))
            is_resolved = is_answered and random.random() < 0.8 and resolved < NOW
            responder = (assignee_id or random.choice([1, 2, None])) if is_answered else None
            if is_answered:
                written.append((response, responder, True))
            is_superseded = not is_resolved and random.random() < 0.2
            ends = [
                resolved if is_resolved else None,
                min(at + timedelta(days=2), NOW) if is_superseded else None,
                created_at + timedelta(days=5) if is_missing else None,
            ]
            escalations.append(
                {
                    "conversation_id": conversation_id,
                    "escalated_at": at,
                    "resolved_at": ends[0],
                    "channel": channel,
                    "assignee_id": assignee_id,
                    "first_response_at": response if is_answered else None,
                    "first_responder_id": responder,
                    "superseded_at": ends[1],
                    "ended_at": min(filter(None, ends), default=None),
                    "is_open": not any(ends),
                }
            )
            is_escalated = random.random() < 0.2
        messages += [
            {
                "message_id": conversation_id * 100 + n,
                "conversation_id": conversation_id,
                "role": "assistant" if is_human else "user",
                "manual_reply": is_human,
                "sender_id": sender_id,
                "created_at": at,
            }
            for n, (at, sender_id, is_human) in enumerate(written)
        ]
    return (
        _typed(conversations, "created_at"),
        _typed(messages, "created_at"),
        _typed(escalations, "escalated_at"),
    )


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
