"""A chat whose story a test tells: the clock stands where it is put, the sandbox shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from zipchat_dagster.sandbox import Chat, Sandbox, User
from zipchat_dagster.sync import MessageResult
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.derive import Rules, rebuild_facts, rebuild_leads, rebuild_metrics
from zipchat_dagster_tests.conftest import Open, Project, midnight

ADA, BO, CY = 1, 2, 3  # agents


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
        rebuild_facts(self.warehouse, now=self.now, rules=Rules(**settings))

    def derive(self, *days: str, **settings: Any) -> list[str]:
        """Rebuild all that is derived, the metrics of `days` or of today. Returns the days that
        were written. `settings` are those of `Rules`."""
        self.derive_facts(**settings)
        rebuild_leads(self.warehouse)
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


def days_between(first: str, last: str) -> Sequence[str]:
    """The ISO dates from `first` to `last`."""
    return [f"{day:%Y-%m-%d}" for day in pd.date_range(first, last)]
