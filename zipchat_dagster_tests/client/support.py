"""A sandbox with a client, a clock that only sleeping moves, and scripted answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import httpx

from zipchat_dagster.client import ZipchatClient
from zipchat_dagster.sandbox import BASE_URL, Chat, Sandbox, generate
from zipchat_dagster_tests import conftest

NOW = datetime(2026, 3, 4, 15, 30, 12, tzinfo=UTC)
KEY = "zc-0123456789abcdef-never-shown"
CLIENTS: list[ZipchatClient] = []  # open ones; conftest.py closes them after each test


class Clock(conftest.Clock):
    """The same, from this NOW on."""

    def __init__(self) -> None:
        super().__init__(NOW.timestamp())


class Api:
    """A sandbox with a client of it; by default, without a rate limit."""

    def __init__(self, chat: Chat | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.chat = chat or a_chat(30)
        defaults = {"limit": None, "clock": self.clock.time, "sleep": self.clock.sleep}
        self.sandbox = Sandbox(chat=self.chat, key=KEY, **{**defaults, **options})
        self.client = a_client(self.sandbox.transport(), clock=self.clock)

    @property
    def requests(self) -> int:
        return self.sandbox.stats()["requests"]

    @property
    def user_id(self) -> int:
        return next(iter(self.chat.users))

    def conversation(self, conversation_id: int) -> dict[str, Any]:
        """As the list shows it, without going through the client."""
        found = self.sandbox.truth()["conversations"]
        return next(row for row in found if row["id"] == conversation_id)

    def messages(self, conversation_id: int) -> list[dict[str, Any]]:
        return self.sandbox.truth()["messages"][conversation_id]


class Script(httpx.BaseTransport):
    """Answers with one item after the other, the last one again and again; keeps the requests."""

    def __init__(self, *answers: object, date: datetime | None = NOW) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.date = date

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        headers = {} if self.date is None else {"Date": formatdate(self.date.timestamp(), True)}
        match answer:
            case httpx.Response():
                return httpx.Response(
                    answer.status_code,
                    headers={**headers, **answer.headers},
                    content=answer.content,
                )
            case bytes():
                return httpx.Response(200, headers=headers, content=answer)
        return httpx.Response(200, headers=headers, content=json.dumps(answer).encode())


def a_client(
    transport: httpx.BaseTransport, *, clock: Clock | None = None, **options: Any
) -> ZipchatClient:
    settings: dict[str, Any] = {"api_key": KEY, "chat_id": 1, "base_url": BASE_URL, **options}
    CLIENTS.append(ZipchatClient(transport=transport, clock=clock or Clock(), **settings))
    return CLIENTS[-1]


def a_chat(conversations: int, *, seed: int = 1, days: int = 20) -> Chat:
    return generate(seed=seed, conversations=conversations, days=days, now=NOW, max_messages=4)


@contextmanager
def long_conversation(messages: int, **options: Any) -> Iterator[tuple[Api, int]]:
    """A chat with one conversation of this many messages, two in each second."""
    chat = a_chat(0)
    began_at = NOW - timedelta(hours=2)
    conversation_id = chat.add_conversation(at=began_at).id
    for number in range(1, messages):
        chat.add_message(conversation_id, at=began_at + timedelta(seconds=number // 2))
    api = Api(chat, **options)
    with api.client:
        yield api, conversation_id
