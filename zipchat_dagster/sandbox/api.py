"""The documented Zipchat Backend API over a `Chat`, without sockets."""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from operator import attrgetter
from random import Random
from threading import RLock
from typing import Any, Literal, TypedDict, TypeVar

import httpx

from zipchat_dagster.sandbox.chat import META_CHANNELS, Chat, Conversation, messages_since
from zipchat_dagster.sandbox.faults import ERRORS, Fault, FaultKind
from zipchat_dagster.sandbox.limit import RateLimit
from zipchat_dagster.sandbox.options import CHECKED, OPTIONS, Options
from zipchat_dagster.sandbox.records import Records, with_string_ids
from zipchat_dagster.sandbox.routing import ENDPOINTS, WRITES, Json, Refusal, Request, parse

T = TypeVar("T")
DEFAULT_KEY = "zc-sandbox"
Drop = Literal["timeout", "disconnect", "reset", "closed"]
_META_WINDOW = timedelta(hours=24)
_HTML = b"<html><body><h1>Back in a moment</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send after `latency` seconds. With `drop`, nothing is ever sent ("timeout"), or the
    connection is closed instead ("disconnect"), halfway ("reset") or afterwards ("closed")."""

    status: int
    headers: dict[str, str]
    body: bytes
    latency: float = 0.0
    drop: Drop | None = None


class Stats(TypedDict):
    """The requests since the last reset.

    `requests` and `windows` (start in Unix seconds, requests) count all that arrived, `refused`
    those answered with 429. `by_endpoint` and `shows` (by conversation id) leave those out.
    `faults` counts the requests that a fault struck.
    """

    requests: int
    refused: int
    faults: int
    by_endpoint: dict[str, int]
    shows: dict[int, int]
    windows: list[tuple[float, int]]


class Truth(TypedDict):
    """All data in the API's own form; messages by conversation id."""

    conversations: list[Json]
    messages: dict[int, list[Json]]
    users: list[Json]


@dataclass(kw_only=True)
class Sandbox(Options):
    """The API of one chat. Thread-safe. See `options.py` for the options.

    Args:
        chat: the data. If requests may arrive while you change it, hold `lock`.
        key: the API key to accept.
        faults: what goes wrong, the first match first.
        alter: gets each request and the JSON of its successful answer, and returns what to send
            instead: for a server with an oddity of its own.
        before_request: called before each request that the rate limit lets through.
        seed: of all that happens at random.
        clock: the time in Unix seconds; the server's clock is `clock_offset` ahead of it.
        sleep: how `transport()` spends an answer's latency.

    Raises:
        ValueError: an option has a value that it cannot have.
    """

    chat: Chat
    key: str = DEFAULT_KEY
    faults: list[Fault] = field(default_factory=list)
    alter: Callable[[Request, Json], Json] | None = None
    before_request: Callable[[Sandbox, Request], None] | None = None
    seed: int = 0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    lock: RLock = field(default_factory=RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.set()
        self._random = Random(self.seed)
        self._rate_limit = RateLimit(self, self.server_time)
        self._data_requests = 0
        self._sorted: list[Conversation] = []
        self._sorted_for: tuple[int, str] | None = None
        self.reset_stats()

    # The clock

    def server_time(self) -> float:
        """The server's time in Unix seconds."""
        return self.clock() + self.clock_offset

    def now(self) -> datetime:
        """The server's time in UTC, in whole seconds."""
        return datetime.fromtimestamp(math.floor(self.server_time()), UTC)

    # Requests

    def transport(self) -> httpx.MockTransport:
        """A transport for `httpx.Client` without sockets; it answers for any host.

        A time-out raises httpx.ReadTimeout at once, a closed connection httpx.ReadError.
        """

        def respond(request: httpx.Request) -> httpx.Response:
            answer = self.handle(
                request.method,
                request.url.path,
                request.url.query.decode(),
                request.headers,
                request.read(),
            )
            if answer.latency:
                self.sleep(answer.latency)
            if answer.drop == "timeout":
                raise httpx.ReadTimeout("the sandbox never answers", request=request)
            if answer.drop in ("disconnect", "reset"):
                raise httpx.ReadError("the sandbox closed the connection", request=request)
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

        return httpx.MockTransport(respond)

    @property
    def _records(self) -> Records:
        return Records(self.chat, self)

    def handle(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Answer one request: `path` with BASE_PATH, `query` as in the URL.

        Never raises because of what a client sends. The request counts for the rate limit when it
        arrives; the caller has to wait for `Answer.latency`.
        """
        request = parse(method, path, query, headers or {}, body)
        with self.lock:
            self._rate_limit.spend(1)
            self._count(request)
            if self._rate_limit.is_over:
                return self._answer(429, self._error("Rate limit exceeded"))
            # RFC 9110: the scheme's case does not matter.
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or key != self.key:
                return self._answer(401, self._error("Missing or invalid API key"))

            self._data_requests += 1
            if self.mutate_every and self._data_requests % self.mutate_every == 0:
                self.change()
            if self.before_request is not None:
                self.before_request(self, request)
            fault = self._next_fault(request)
            self._faults += fault is not None
            return self._answer_with(fault, request)

    def _answer_with(self, fault: FaultKind | None, request: Request) -> Answer:
        match fault:
            case "timeout" | "disconnect":
                return self._answer(200, b"", drop=fault)
            case "503" | "not_json":
                return self._answer(503 if fault == "503" else 200, _HTML, "text/html")
            case "403" | "404" | "500":
                return self._answer(int(fault), self._error(ERRORS[fault]))
        try:
            status, payload = self._respond(request)
            if self.alter is not None:
                payload = self.alter(request, payload)
            if self.id_type == "str":
                payload = with_string_ids(payload)
            body = json.dumps(payload).encode()
        except Refusal as refusal:
            status, body = refusal.status, self._error(refusal.text)
        if fault == "truncated":
            body = body[: len(body) // 2]
        drops: dict[FaultKind | None, Drop] = {
            "lost_write": "disconnect",
            "reset": "reset",
            "closed": "closed",
        }
        delay = self.slow_seconds if fault == "slow" else 0.0
        return self._answer(status, body, delay=delay, drop=drops.get(fault))

    def _answer(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json; charset=utf-8",
        *,
        delay: float = 0.0,
        drop: Drop | None = None,
    ) -> Answer:
        headers = {
            "Date": formatdate(math.floor(self.server_time()), usegmt=True),
            "Content-Type": content_type,
            **self._rate_limit.headers(),
        }
        return Answer(status, headers, body, self.latency + delay, drop)

    def _error(self, text: str) -> bytes:
        return json.dumps({self.error_key: text}).encode()

    # Meddling

    def set(self, **options: Any) -> None:
        """Change options: all of them, or none if one is unknown or has a value that it cannot have
        (ValueError)."""
        with self.lock:
            given = {name: getattr(self, name) for name in OPTIONS} | options
            vars(self).update(vars(CHECKED.validate_python(given)))

    def spend(self, requests: int) -> None:
        """Another program with the same key sends this many requests now."""
        with self.lock:
            self._rate_limit.spend(requests)

    @property
    def window_start(self) -> float:
        """When the current window of the rate limit began, in Unix seconds."""
        return self._rate_limit.start

    def add_fault(self, fault: Fault) -> None:
        """Let something go wrong from now on."""
        with self.lock:
            self.faults.append(fault)

    def clear_faults(self) -> None:
        """Remove all faults; `fault_rate` stays."""
        with self.lock:
            self.faults.clear()

    def change(self, count: int = 1) -> list[str]:
        """Make random changes to the chat at the server's time. Returns their kinds."""
        with self.lock:
            kinds = self.mutate_kinds
            return [
                self.chat.change(self._random, at=self.now(), kinds=kinds) for _ in range(count)
            ]

    def _next_fault(self, request: Request) -> FaultKind | None:
        for fault in self.faults:
            if fault.strikes(request):
                return fault.kind
        if self.fault_rate and self._random.random() < self.fault_rate:
            # A truncated answer to a write would hide that it happened.
            is_write = request.endpoint in WRITES
            kinds = [k for k in self.fault_kinds if not (is_write and k == "truncated")]
            return self._random.choice(kinds) if kinds else None
        return None

    # What happened, and what is there

    def stats(self) -> Stats:
        """The counters since the last `reset_stats`."""
        with self.lock:
            return {
                "requests": sum(self._windows.values()),
                "refused": self._refused,
                "faults": self._faults,
                "by_endpoint": {name: self._by_endpoint[name] for name in ENDPOINTS},
                "shows": dict(self._shows),
                "windows": sorted(self._windows.items()),
            }

    def reset_stats(self) -> None:
        """Set every counter to zero. The rate limit's window goes on."""
        with self.lock:
            self._refused = self._faults = 0
            self._by_endpoint: Counter[str] = Counter()
            self._shows: Counter[int] = Counter()
            self._windows: Counter[float] = Counter()

    def truth(self) -> Truth:
        """All data, however the pages show it."""
        records = self._records
        with self.lock:
            conversations = sorted(self.chat.conversations.values(), key=attrgetter("id"))
            return {
                "conversations": [records.conversation(c) for c in conversations],
                "messages": {c.id: [records.message(m) for m in c.messages] for c in conversations},
                "users": [records.user(user) for user in self.chat.users.values()],
            }

    def _count(self, request: Request) -> None:
        self._windows[self._rate_limit.start] += 1
        if self._rate_limit.is_over:
            self._refused += 1
        elif request.endpoint is not None:
            self._by_endpoint[request.endpoint] += 1
            if request.endpoint == "show" and request.id is not None:
                self._shows[request.id] += 1

    # Endpoints

    def _respond(self, request: Request) -> tuple[int, Json]:
        if request.endpoint is None:
            raise Refusal(404, "Not found")
        if request.chat_id != str(self.chat.chat_id):
            raise Refusal(404, "Chat not found")
        match request.endpoint:
            case "list":
                return 200, self._list(request)
            case "users":
                return 200, self._list_users(request)
            case "user":
                user = self.chat.users.get(request.id or 0)
                if user is None:
                    raise Refusal(404, "User not found")
                return 200, self._wrapped("user", self._records.user(user))
        conversation = self.chat.conversations.get(request.id or 0)
        if conversation is None:
            raise Refusal(404, "Conversation not found")
        match request.endpoint:
            case "show":
                return 200, self._show(request, conversation)
            case "assignment":
                return 200, self._assign(request, conversation)
        return 201, self._send(request, conversation)

    def _list(self, request: Request) -> Json:
        found = self._ordered()
        since = request.time("last_message_at_since")
        if since is not None:
            if self.order == "id":
                found = [c for c in found if c.last_message_at >= since]
            else:
                found = found[bisect_left(found, since, key=attrgetter("last_message_at")) :]
        if self.shuffle_ties and self.order != "id":
            # As from a database that sorts by last_message_at alone.
            found = sorted(found, key=lambda c: (c.last_message_at, self._random.random()))
        if self.order == "desc":
            found = found[::-1]
        rows, pages = self._page(request, found, len(self.chat.conversations), largest=100)
        return {"conversations": [self._records.conversation(c) for c in rows]} | pages

    def _ordered(self) -> list[Conversation]:
        """All conversations, ascending by (last_message_at, id) or id; sorted once a change."""
        wanted = (self.chat.version, self.order)
        if self._sorted_for != wanted:
            self._sorted = sorted(self.chat.conversations.values(), key=attrgetter("id"))
            if self.order != "id":
                self._sorted.sort(key=attrgetter("last_message_at"))
            self._sorted_for = wanted
        return self._sorted

    def _show(self, request: Request, conversation: Conversation) -> Json:
        found = conversation.messages
        since = request.time("message_created_at_since")
        if since is not None:
            found = messages_since(found, since)
        if self.message_order == "desc":
            found = found[::-1]
        stored = len(conversation.messages)
        rows, pages = self._page(request, found, stored, largest=200, prefix="message_")
        payload = self._records.conversation(conversation, details=True)
        payload["messages"] = [self._records.message(message) for message in rows]
        return self._wrapped("conversation", payload) | pages

    def _list_users(self, request: Request) -> Json:
        users = list(self.chat.users.values())
        rows, pages = self._page(request, users, len(users), largest=100)
        return {"users": [self._records.user(user) for user in rows]} | pages

    def _assign(self, request: Request, conversation: Conversation) -> Json:
        body = request.json()
        if "assignee_id" not in body:
            raise Refusal(422, "assignee_id is required (use null to assign to AI)")
        user_id = body["assignee_id"]
        if user_id is not None and not self._is_user(user_id):
            raise Refusal(422, "assignee_id is not an assignable user for this chat")
        self.chat.assign(conversation.id, user_id, at=self.now())
        return self._wrapped("conversation", self._records.conversation(conversation))

    def _send(self, request: Request, conversation: Conversation) -> Json:
        body = request.json()
        text = body.get("message")
        sender_id = body.get("sender_id")
        if not isinstance(text, str) or not text.strip():
            raise Refusal(422, "message is required")
        if sender_id is None:
            raise Refusal(422, "sender_id is required")
        if not self._is_user(sender_id):
            raise Refusal(422, "sender_id is not an assignable user for this chat")
        if not conversation.manual_reply_mode:
            raise Refusal(
                422,
                "Conversation is in AI mode; assign it to a user before sending a manual message",
            )
        heard = conversation.last_customer_message_at
        if conversation.channel in META_CHANNELS and (
            heard is None or self.now() - heard > _META_WINDOW
        ):
            raise Refusal(
                422, "Cannot send: customer last messaged more than 24 hours ago on a Meta channel"
            )
        message = self.chat.add_message(
            conversation.id,
            at=self.now(),
            role="assistant",
            manual_reply=True,
            sender_id=sender_id,
            message=text,
        )
        return {"message": self._records.message(message)}

    def _is_user(self, user_id: object) -> bool:
        # JSON's true is Python's 1.
        return type(user_id) is int and user_id in self.chat.users

    # Pages

    def _page(
        self, request: Request, found: list[T], stored: int, *, largest: int, prefix: str = ""
    ) -> tuple[list[T], Json]:
        """The rows of the page that is asked for, and what it says about the other pages.

        Args:
            found: all rows that the request filters for, of `stored` ones.
            largest: the documented maximum of rows; half of it is the default.
        """
        page = request.count(f"{prefix}page", 1)
        per_page = min(
            request.count(f"{prefix}per_page", largest // 2), largest, self.largest_page or largest
        )
        rows = found[(page - 1) * per_page : page * per_page]
        pages = math.ceil(len(found) / per_page)
        counted = stored if self.totals_ignore_since else len(found)
        total = max(0, counted + self.total_error)
        match self.pagination:
            case "meta":
                meta = {"current_page": page, "per_page": per_page}
                return rows, {"meta": {**meta, "total_pages": pages, "total_count": total}}
            case "pagination":
                following = page + 1 if page < pages else None
                pagination = {"page": page, "per_page": per_page, "total": total}
                return rows, {"pagination": {**pagination, "next_page": following}}
        return rows, {}

    def _wrapped(self, name: str, payload: Json) -> Json:
        return {name: payload} if self.wrap else payload
