"""A chat whose story a test tells: the clock stands where it is put, the sandbox shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from zipchat_dagster.sandbox import Chat, Sandbox, User, generate
from zipchat_dagster.sync import MessageResult
from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import (
    FACTS,
    Rules,
    rebuild_facts,
    rebuild_leads,
    rebuild_metrics,
)
from zipchat_dagster_tests.conftest import Open, Project, midnight

ADA, BO, CY = 1, 2, 3  # agents
METRICS = [
    column.name
    for column in schema_tables()["escalation_metrics"].columns
    if column.name
    not in ("partition_date", "chat_id", "dimension", "dimension_value", "computed_at")
]


def quantile(values: pd.Series, q: float) -> float | None:
    known = values.dropna().astype(float)
    return None if known.empty else float(np.quantile(known, q))


def percentiles(rows: pd.DataFrame, column: str, *percents: int) -> dict[str, float | None]:
    return {f"{column}_p{n}": quantile(rows[column], n / 100) for n in percents}


def ratio(over: float | None, under: float) -> float | None:
    return None if over is None or not under else over / under


def moment(text: str) -> datetime:
    """`2026-03-03 10:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Story(Project):
    """A project that is told what happens when, and looks at it when it is told to."""

    def __init__(
        self,
        place: Path | Open,
        *,
        chat: Chat | None = None,
        timezone: str = "UTC",
        begins: str = "2026-01-01",
        **options: Any,
    ) -> None:
        names = {ADA: "Ada", BO: "Bo", CY: "Cy"}
        users = {i: User(i, name, "Agent", f"{name}@example.org") for i, name in names.items()}
        sandbox = Sandbox(chat=chat or Chat(users=users), limit=None, **options)
        if isinstance(place, Path):
            warehouse = Warehouse(place / "zipchat.duckdb", timezone=timezone)
        else:
            warehouse = place(timezone=timezone)
        super().__init__(sandbox, warehouse)
        self.sandbox.clock = self.clock.time
        self.begins = moment(begins)
        self.at(begins)

    @property
    def chat(self) -> Chat:
        return self.sandbox.chat

    @property
    def now(self) -> datetime:
        return self.sandbox.now()

    def at(self, text: str) -> datetime:
        """Put the clock there."""
        self.clock.now = moment(text).timestamp()
        return self.now

    def later(self, **delta: float) -> datetime:
        """Put the clock forward."""
        self.clock.now += timedelta(**delta).total_seconds()
        return self.now

    # What happens, at the time that it is

    def start(self, channel: str = "web", **fields: Any) -> int:
        """A customer begins a conversation. Returns its id."""
        return self.chat.add_conversation(at=self.now, channel=channel, **fields).id

    def customer(self, conversation_id: int, **fields: Any) -> None:
        self.chat.add_message(conversation_id, at=self.now, **fields)

    def ai(self, conversation_id: int) -> None:
        self.chat.add_message(conversation_id, at=self.now, role="assistant", message="Hello!")

    def human(self, conversation_id: int, agent: int | None) -> None:
        self.chat.add_message(
            conversation_id,
            at=self.now,
            role="assistant",
            manual_reply=True,
            sender_id=agent,
            message="Hello, a person here.",
        )

    def escalate(self, conversation_id: int) -> None:
        self.chat.escalate(conversation_id, at=self.now)

    def resolve(self, conversation_id: int) -> None:
        self.chat.resolve(conversation_id, at=self.now)

    def resolve_and_escalate(self, conversation_id: int) -> None:
        """Both within one second, which the sandbox itself would refuse."""
        resolved = self.chat.resolve(conversation_id, at=self.now)
        again = replace(resolved, escalated_at=resolved.resolved_at, resolved_at=None)
        self.chat.conversations[conversation_id].escalations.append(again)

    def assign(self, conversation_id: int, agent: int | None) -> None:
        self.chat.assign(conversation_id, agent, at=self.now)

    # What we do about it

    def sync(self, **options: Any) -> tuple[int, MessageResult]:
        """What an hourly run does; `since` and `until` can be given."""
        until = midnight(self.now) + timedelta(days=2)
        # Many in flight make few and large transactions.
        usual = {"since": self.begins, "until": until, "most_states": 30, "concurrency": 64}
        return super().sync(**{**usual, **options})

    def derive_facts(self, **settings: Any) -> None:
        rebuild_facts(
            self.warehouse, chat_id=self.chat.chat_id, now=self.now, rules=Rules(**settings)
        )

    def derive(self, *days: str, **settings: Any) -> list[str]:
        """Rebuild all that is derived, the metrics of `days` or of today. Returns the days that
        were written. `settings` are those of `Rules`."""
        self.derive_facts(**settings)
        rebuild_leads(self.warehouse, chat_id=self.chat.chat_id)
        return rebuild_metrics(
            self.warehouse,
            chat_id=self.chat.chat_id,
            days=days or [f"{pd.Timestamp(self.now).tz_convert(self.warehouse.timezone):%Y-%m-%d}"],
            now=self.now,
            rules=Rules(**settings),
        )

    def run(self, **options: Any) -> list[str]:
        """An hourly run: sync, then derive today. Returns the days that were written."""
        self.sync(**options)
        return self.derive()

    def frame(self, query: str) -> pd.DataFrame:
        with self.warehouse.connection() as connection:
            return connection.execute(query).df()

    def derived(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that is derived, but for when it was, by table."""
        columns = "columns(lambda name: name <> 'computed_at')"
        tables = (*FACTS, "leads", "escalation_metrics", "activity_by_hour")
        return {
            table: self.rows(f"select {columns} from zipchat.{table} order by all")
            for table in tables
        }

    def value(self, query: str) -> Any:
        """The one value of a query's one row."""
        ((found,),) = self.rows(query)
        return found

    def metrics(self, day: str, dimension: str = "all", value: str = "all") -> dict[str, Any]:
        """One row of `escalation_metrics`."""
        with self.warehouse.connection() as connection:
            cursor = connection.execute(
                "select * from zipchat.escalation_metrics"
                " where partition_date = ? and dimension = ? and dimension_value = ?",
                [day, dimension, value],
            )
            names = [column[0] for column in cursor.description]
            (row,) = cursor.fetchall()
        return dict(zip(names, row, strict=True))

    def escalations(self, *columns: str) -> list[tuple[Any, ...]]:
        """The escalations in order, times as `03-03 10:00:00`."""
        listed = ", ".join(
            f"strftime({name}, '%m-%d %H:%M:%S')" if name.endswith("_at") else name
            for name in columns
        )
        return self.rows(
            f"select {listed} from zipchat.escalations order by escalated_at, conversation_id"
        )


def live(story: Story, random: Random) -> None:
    """Some hours of a chat in which what is rare elsewhere is frequent."""
    chat, agents = story.chat, list(story.chat.users)
    story.later(hours=random.choice([1, 2, 9, 30]))
    for _ in range(3):
        chat.change(random, at=story.now)
    leads = [one.lead for one in chat.conversations.values() if one.lead]
    story.escalate(story.start("whatsapp", lead=random.choice(leads)))
    story.later(minutes=1)
    waiting = [one.id for one in chat.conversations.values() if one.is_escalated]
    for event in random.sample(range(9), 5) if waiting else ():
        some, agent = random.choice(waiting), random.choice(agents)
        story.later(minutes=1)
        match event:
            case 0:  # what it wrote before counts for the new channel too
                chat.conversations[some].channel = random.choice(["web", "email"])
                story.customer(some)
            case 1:  # again, and nobody has resolved the first one
                story.customer(some)
                story.escalate(some)
            case 2 if chat.conversations[some].is_escalated:  # both within a second
                story.resolve_and_escalate(some)
                story.customer(some)
            case 3 if chat.conversations[some].is_escalated:  # an answer that comes too late
                story.resolve(some)
                story.later(hours=1)
                story.human(some, agent)
            case 4:
                story.assign(some, agent)
                story.human(some, agent)
            case 5 if chat.deleted:
                back = random.choice(list(chat.deleted))
                chat.restore_conversation(back, at=story.now)
                story.customer(back)
            case 6:  # all in one second
                story.ai(some)
                story.human(some, agent)
                story.customer(some)
                story.ai(some)
            case 7:  # they talk
                story.assign(some, agent)
                for _ in range(3):
                    story.human(some, agent)
                    story.later(minutes=random.choice([5, 300]))
                    story.customer(some)
                    story.ai(some)
            case 8:
                chat.delete_conversation(some, at=story.now)
                waiting.remove(some)


@dataclass(frozen=True)
class RandomChat:
    """Twelve days of a chat that changes, with everything derived.

    Attributes:
        days: those that have metrics; the last one is still to come.
        rules: what its facts and metrics were derived with.
        office: the business hours, if there are any. Only then there are targets, too.
    """

    story: Story
    days: Sequence[str]
    rules: Rules
    office: str | None

    CASES: ClassVar = [
        (1, "UTC", "2026-06-10 15:20", None),
        (2, "America/New_York", "2026-03-12 15:20", "mon-fri 09:00-17:00, sun 00:00-24:00"),
        (3, "America/New_York", "2026-11-05 03:10", "mon-sat 08:30-12:00, sun 01:30-04:00"),
        (5, "Asia/Kolkata", "2026-07-01 03:00", None),
        (4, "Europe/Berlin", "2026-10-28 23:30", "mon-fri 00:00-24:00, sat-sun 10:00-16:00"),
    ]

    @classmethod
    def build(cls, place: Open, seed: int, zone: str, now: str, office: str | None) -> RandomChat:
        """One of CASES: in some of these days the clocks change."""
        chat = generate(seed=seed, conversations=70, days=9, now=moment(now), max_messages=40)
        chat.remove_user(next(iter(chat.users)), at=moment(now))
        odd = list(chat.conversations.values())
        odd[7].channel = None  # type: ignore[assignment]  # the API may leave out what it likes
        for conversation in odd[::5]:
            for message in conversation.messages[::2]:
                message.sender_id = None
        story = Story(
            place,
            chat=chat,
            timezone=zone,
            begins=f"{moment(now) - timedelta(days=12):%Y-%m-%d}",
            reescalation_resolved="keep" if seed % 2 else "clear",
        )
        story.at(now)
        story.sync()
        random = Random(seed)
        for _ in range(3):
            story.later(hours=11)
            waiting = [c.id for c in chat.conversations.values() if c.is_escalated]
            for conversation_id in random.sample(waiting, 2):
                story.escalate(conversation_id)  # again, before anybody resolved it
            for _ in range(25):
                chat.change(random, at=story.now)
            live(story, random)
            story.sync()
        target = 1800 if office else None
        days = days_between(f"{story.begins:%Y-%m-%d}", f"{story.now + timedelta(days=1):%Y-%m-%d}")
        rules = Rules(
            business_hours=BusinessHours.parse(office, zone) if office else None,
            response_target_seconds=target,
            next_response_target_seconds=2 * target if target else None,
            resolution_target_seconds=40 * target if target else None,
        )
        story.derive(*days, **vars(rules))
        return cls(story, days, rules, office)


def days_between(first: str, last: str) -> Sequence[str]:
    """The ISO dates from `first` to `last`."""
    return [f"{day:%Y-%m-%d}" for day in pd.date_range(first, last)]
