"""A sandbox on a clock of its own, and a client of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx

from zipchat_dagster.sandbox import BASE_URL, Chat, Sandbox, generate
from zipchat_dagster_tests.conftest import Clock

# 12 seconds into a minute of the clock.
NOW = datetime(2026, 3, 4, 15, 30, 12, tzinfo=UTC)
META_CHANNELS = ("whatsapp", "instagram", "messenger")
TOO_LATE = "Cannot send: customer last messaged more than 24 hours ago on a Meta channel"
AI_MODE = "Conversation is in AI mode; assign it to a user before sending a manual message"


class Api:
    """A sandbox, its clock, and a client for it. Paths are below the chat."""

    def __init__(self, chat: Chat | None = None, **options: Any) -> None:
        self.clock = Clock(NOW.timestamp())
        self.chat = chat or generate(seed=1, conversations=130, days=20, now=NOW)
        arguments: dict[str, Any] = {"clock": self.clock.time, "limit": None, **options}
        self.sandbox = Sandbox(chat=self.chat, **arguments)
        self.client = httpx.Client(
            base_url=f"{BASE_URL}/chats/{self.chat.chat_id}",
            headers={"Authorization": "Bearer zc-sandbox"},
            transport=self.sandbox.transport(),
        )

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params=parameters)

    def ids(self, **parameters: Any) -> list[int]:
        response = self.get("/conversations", **parameters)
        return [conversation["id"] for conversation in response.json()["conversations"]]

    def refusal(self, method: str, path: str, **rest: Any) -> tuple[int, str]:
        response = self.client.request(method, path, **rest)
        return response.status_code, response.json()["error"]

    def conversation_id(self, channel: str = "web") -> int:
        return self.chat.add_conversation(at=NOW, channel=channel).id

    @property
    def user_id(self) -> int:
        return next(iter(self.chat.users))


def iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
