"""From a raw HTTP request to an endpoint, its parameters and its body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

BASE_PATH = "/api/integrations/backend_api/v1"

# JSON objects of any shape; the API's own names are their documentation.
Json = dict[str, Any]

Endpoint = Literal["list", "show", "users", "user", "assignment", "message"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
WRITES = frozenset({"assignment", "message"})
# Endpoint, method and path below the chat, as documented.
_ROUTES: tuple[tuple[Endpoint, str, re.Pattern[str]], ...] = (
    ("list", "GET", re.compile(r"/conversations")),
    ("show", "GET", re.compile(r"/conversations/([0-9]{1,18})")),
    ("users", "GET", re.compile(r"/users")),
    ("user", "GET", re.compile(r"/users/([0-9]{1,18})")),
    ("assignment", "PATCH", re.compile(r"/conversations/([0-9]{1,18})/assignment")),
    ("message", "POST", re.compile(r"/conversations/([0-9]{1,18})/messages")),
)
_CHAT_PATH = re.compile(re.escape(BASE_PATH) + r"/chats/([^/]+)(/.*)")


class Refusal(Exception):  # noqa: N818 - an answer with an error status, not an error of ours
    """The request gets this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; unknown endpoints are None."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    chat_id: str | None = None
    endpoint: Endpoint | None = None
    id: int | None = None

    @property
    def conversation_id(self) -> int | None:
        return None if self.endpoint == "user" else self.id

    def count(self, name: str, default: int) -> int:
        """A positive number from the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
            raise Refusal(422, f"{name} must be a positive integer")
        return int(text)

    def time(self, name: str) -> datetime | None:
        """A time from the query, in UTC if it has no zone. An unescaped "+" arrives as a blank."""
        text = self.query.get(name)
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(text)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Refusal(422, f"{name} must be an ISO 8601 timestamp") from None

    def json(self) -> Json:
        """The body's object. Anything else counts as an empty one, so that fields are missing."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}


def parse(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Request:
    """The request with its chat, endpoint and id, as far as the path has them."""
    method = method.upper()
    decoded = dict(parse_qsl(query, keep_blank_values=True))
    lowered = {name.lower(): value for name, value in headers.items()}
    if chat_path := _CHAT_PATH.fullmatch(path):
        chat_id, rest = chat_path.groups()
        for endpoint, endpoint_method, pattern in _ROUTES:
            if method == endpoint_method and (match := pattern.fullmatch(rest)):
                record_id = int(match[1]) if pattern.groups else None
                return Request(method, path, decoded, lowered, body, chat_id, endpoint, record_id)
    return Request(method, path, decoded, lowered, body)
