"""Chats whose events a test decides, on a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any, ClassVar

import pandas as pd

from zipchat_dagster.sandbox import Chat, Sandbox, User, generate
from zipchat_dagster.sync import MessageResult
from zipchat_dagster.warehouse import Warehouse, schema_tables
from zipchat_dagster.warehouse.business_hours import BusinessHours
from zipchat_dagster.warehouse.derive import FACTS, Rules, rebuild_facts
from zipchat_dagster.warehouse.lake import Lake
from zipchat_dagster_tests.conftest import Open, Project, derive_all, midnight

ADA, BO, CY = 1, 2, 3  # agents
METRICS = [
    column.name
    for column in schema_tables()["escalation_metrics"].columns
    if column.name
    not in ("partition_date", "chat_id", "dimension", "dimension_value", "computed_at")
]
AGENTS = {"Ada": ADA, "Bo": BO, "Cy": CY, "nobody": None}


def moment(text: str) -> datetime:
    """`2026-03-03 10:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Story(Project):
    """A project in which a test decides what happens when, and when it is synced."""

    def __init__(
        self,
        place: Path | Open,
        *,
        chat: Chat | None = None,
        timezone: str = "UTC",
        begins: str = "2026-01-01",
        **options: Any,
    ) -> None:
        users = {
            i: User(i, name, "Agent", f"{name}@example.org") for name, i in AGENTS.items() if i
        }
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

    # What happens, at the clock's time

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

    def play(self, script: str) -> dict[str, int]:
        """Do what a script says. Returns the conversations' ids by the names that it gives them.

            03-03 08:00     A start whatsapp   # a comment
            03-03 08:30:15  A escalate, A assign Ada
                            sync

        A line begins with a time of 2026, or happens at the time of the line before. An event is a
        conversation's name with a method above and its argument; `sync` or `look`; or `Bo leaves`.
        """
        ids: dict[str, int] = {}
        for line in dedent(script).strip("\n").splitlines():
            time, events = line[:15].strip(), line[15:].partition("#")[0]
            if time:
                self.at(f"2026-{time}")
            for event in events.split(","):
                match event.split():
                    case ["sync" | "look" as method]:
                        getattr(self, method)()
                    case [agent, "leaves"]:
                        self.chat.remove_user(AGENTS[agent] or 0, at=self.now)
                    case [name, "start", *channel]:
                        ids[name] = self.start(*channel)
                    case [name, method, *agents]:
                        getattr(self, method)(ids[name], *map(AGENTS.__getitem__, agents))
                    case words:
                        assert not words, event
        return ids

    # What our side does

    def sync(self, **options: Any) -> tuple[int, MessageResult]:
        """What an hourly run does; `since` and `until` can be given."""
        until = midnight(self.now) + timedelta(days=2)
        # Many in flight make few and large transactions.
        usual = {"since": self.begins, "until": until, "most_states": 30, "concurrency": 64}
        return super().sync(**{**usual, **options})

    def look(self) -> None:
        """A moment later, sync and derive the facts."""
        self.later(minutes=1)
        self.sync()
        self.derive_facts()

    def derive_facts(self, **settings: Any) -> None:
        rebuild_facts(
            self.warehouse, chat_id=self.chat.chat_id, now=self.now, rules=Rules(**settings)
        )

    def derive(self, *days: str, **settings: Any) -> list[str]:
        """Rebuild all that is derived, the metrics of `days` or of today. Returns the days that
        were written. `settings` are those of `Rules`."""
        today = pd.Timestamp(self.now).tz_convert(self.warehouse.timezone)
        return derive_all(
            self.warehouse,
            days=days or [f"{today:%Y-%m-%d}"],
            now=self.now,
            rules=Rules(**settings),
            chat_id=self.chat.chat_id,
        )

    def derive_again(self) -> None:
        """Derive everything from scratch."""
        derive_all(self.warehouse, now=self.now, chat_id=self.chat.chat_id, from_scratch=True)

    def run(self, **options: Any) -> list[str]:
        """An hourly run: sync, then derive today. Returns the days that were written."""
        self.sync(**options)
        return self.derive()

    def frame(self, query: str) -> pd.DataFrame:
        with self.warehouse.connection() as connection:
            return connection.execute(query).df()

    def derived(self) -> dict[str, list[tuple[Any, ...]]]:
        """All derived rows by table, without the times of computing."""
        columns = "columns(lambda name: name <> 'computed_at')"
        tables = (*FACTS, "leads", "escalation_metrics", "activity_by_hour")
        return {
            table: self.rows(f"select {columns} from zipchat.{table} order by all")
            for table in tables
        }

    def dicts(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query by the names of its columns."""
        with self.warehouse.connection() as connection:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def value(self, query: str) -> Any:
        """The one value of a query's one row."""
        ((found,),) = self.rows(query)
        return found

    def metrics(self, day: str, dimension: str = "all", value: str = "all") -> dict[str, Any]:
        """One row of `escalation_metrics`."""
        (row,) = self.dicts(
            f"from zipchat.escalation_metrics where partition_date = '{day}'"
            f" and dimension = '{dimension}' and dimension_value = '{value}'"
        )
        return row

    def computed_at(self) -> dict[str, datetime]:
        """When the metrics of each day were computed."""
        return dict(
            self.rows(
                "select strftime(partition_date, '%Y-%m-%d'), any_value(computed_at)"
                " from zipchat.escalation_metrics group by 1"
            )
        )

    def escalations(self, *columns: str) -> list[tuple[Any, ...]]:
        """The escalations in order, times as `03-03 10:00:00`."""
        listed = ", ".join(
            f"strftime({name}, '%m-%d %H:%M:%S')" if name.endswith("_at") else name
            for name in columns
        )
        return self.rows(
            f"select {listed} from zipchat.escalations order by escalated_at, conversation_id"
        )


def copied(build: Callable[[Open], Story], place: Open) -> Story:
    """What `build` makes, in this place. A file is built once, and then copied."""
    tables = place()
    if isinstance(tables._engine, Lake):
        return build(place)
    content, original = _built(build)
    tables.path.write_bytes(content)
    story = Story(place, chat=deepcopy(original.chat), begins=f"{original.begins:%Y-%m-%d}")
    story.clock.now = original.clock.now
    return story


@cache
def _built(build: Callable[[Open], Story]) -> tuple[bytes, Story]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "zipchat.duckdb"
        story = build(lambda **options: Warehouse(path, **options))
        return path.read_bytes(), story


def live(story: Story, random: Random) -> None:
    """Some hours of a chat in which rare events are frequent."""
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
            case 1:  # again, while the first one is unresolved
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
        office: the business hours, if there are any. Only then there are targets, too.
        rules: by which it is derived, with the business hours.
    """

    story: Story
    days: Sequence[str]
    office: str | None
    rules: Rules

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
        rules = Rules()
        if office:
            rules = Rules(
                business_hours=BusinessHours.parse(office, zone),
                response_target_seconds=1800,
                next_response_target_seconds=3600,
                resolution_target_seconds=72_000,
            )
        days = days_between(f"{story.begins:%Y-%m-%d}", f"{story.now + timedelta(days=1):%Y-%m-%d}")
        story.derive(*days, **vars(rules))
        return cls(story, days, office, rules)


def days_between(first: str, last: str) -> Sequence[str]:
    """The ISO dates from `first` to `last`."""
    return [f"{day:%Y-%m-%d}" for day in pd.date_range(first, last)]
