"""The documented Zipchat Backend API over a `Chat`, without sockets.

What the documentation leaves open is an option of `Sandbox`, so that a client can be tried
against every way the service may turn out to behave.
"""

from __future__ import annotations

import json
import math
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from operator import attrgetter
from random import Random
from threading import RLock
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import parse_qsl

import httpx

from zipchat_dagster.sandbox.data import (
    META_CHANNELS,
    Chat,
    Conversation,
    Escalation,
    Lead,
    Message,
    User,
    messages_since,
)

BASE_PATH = "/api/integrations/backend_api/v1"
DEFAULT_KEY = "zc-sandbox"
NO_LIMIT = 1_000_000

Order = Literal["desc", "asc", "id"]
Pagination = Literal["none", "meta", "pagination"]
MessageOrder = Literal["asc", "desc"]
PerPageOverMax = Literal["clamp", "refuse"]
ErrorKey = Literal["error", "message"]
UserName = Literal["full_name", "name", "first_last"]
WindowAlignment = Literal["clock", "first_request"]
ResetFormat = Literal["unix", "seconds"]
ResetRounding = Literal["ceil", "floor", "exact"]
ReescalationResolved = Literal["keep", "clear"]
IdType = Literal["int", "str"]
FaultKind = Literal["500", "503", "timeout", "disconnect", "truncated", "not_json", "lost_write"]

_OPTIONS: dict[str, Any] = {
    "order": Order,
    "pagination": Pagination,
    "message_order": MessageOrder,
    "per_page_over_max": PerPageOverMax,
    "error_key": ErrorKey,
    "user_name": UserName,
    "window_alignment": WindowAlignment,
    "reset_format": ResetFormat,
    "reset_rounding": ResetRounding,
    "reescalation_resolved": ReescalationResolved,
    "id_type": IdType,
}

# Endpoint, method and path below the chat, as in the documentation.
_ENDPOINTS = (
    ("list", "GET", re.compile(r"/conversations")),
    ("show", "GET", re.compile(r"/conversations/([0-9]{1,18})")),
    ("users", "GET", re.compile(r"/users")),
    ("user", "GET", re.compile(r"/users/([0-9]{1,18})")),
    ("assignment", "PATCH", re.compile(r"/conversations/([0-9]{1,18})/assignment")),
    ("message", "POST", re.compile(r"/conversations/([0-9]{1,18})/messages")),
)
_WRITES = frozenset({"assignment", "message"})
_CHAT_PATH = re.compile(re.escape(BASE_PATH) + r"/chats/([^/]+)(/.*)")
_META_WINDOW = timedelta(hours=24)

# JSON objects of every shape pass through here; the API's own names are their documentation.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    endpoint: str | None = None
    chat_id: str | None = None
    id: int | None = None

    @property
    def conversation_id(self) -> int | None:
        return None if self.endpoint == "user" else self.id


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back after `latency` seconds, unless `drop` says that nothing does."""

    status: int
    headers: dict[str, str]
    body: bytes
    latency: float = 0.0
    drop: Literal["timeout", "disconnect"] | None = None


@dataclass(slots=True)
class Fault:
    """Something that goes wrong for the next `times` matching requests (None: for ever).

    A request matches when `method` is its method, `path` is in its path, `conversation_id` is the
    conversation it names and `endpoint` its endpoint, as far as these are given.
    The kinds "500", "503", "timeout", "disconnect" and "not_json" strike before anything changes;
    "truncated" cuts the true answer short; "lost_write" applies a write, then drops the connection.
    """

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    conversation_id: int | None = None
    endpoint: str | None = None
    times: int | None = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"kind must be one of {get_args(FaultKind)}, not {self.kind!r}")

    def matches(self, request: Request) -> bool:
        return (
            (self.times is None or self.times > 0)
            and self.method in (None, request.method)
            and (self.path is None or self.path in request.path)
            and self.conversation_id in (None, request.conversation_id)
            and self.endpoint in (None, request.endpoint)
            and (self.kind != "lost_write" or request.endpoint in _WRITES)
        )


class Stats(TypedDict):
    """What was asked since the last reset.

    `requests` and `windows` (start in Unix seconds, requests) count all that arrived, `refused`
    those answered 429. `by_endpoint` and `shows` (per conversation id) leave the refused out.
    """

    requests: int
    refused: int
    by_endpoint: dict[str, int]
    shows: dict[int, int]
    windows: list[tuple[float, int]]
    max_in_flight: int


class Truth(TypedDict):
    """Everything there is, in the API's own form; messages and escalations by conversation id."""

    conversations: list[Json]
    messages: dict[int, list[Json]]
    users: list[Json]
    escalations: dict[int, list[Json]]
    deleted: list[int]


class Refusal(Exception):  # noqa: N818 - an answer with an error status, no fault of ours
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(kw_only=True)
class Sandbox:
    """The API of one chat. Every public method is safe to call from several threads.

    Options, where the documentation is silent:
      order: of the conversation list: newest activity first, oldest first, or by id.
      shuffle_ties: conversations with the same last_message_at come in another order each time.
      message_order: of the messages of a conversation, by time.
      pagination: what a page says about the others.
      per_page_over_max: whether more than the maximum per page is cut to it or answered 422.
      wrap: whether one conversation or user stands under its name or bare.
      error_key: of the text in an error's body.
      user_name: how a user and an assignee are named.
      reescalation_resolved: whether a new escalation keeps the resolution of the one before.
      id_type: whether ids are numbers or strings of digits.
      largest_page: records on one page at most, however many are asked for.
      total_error: by how much every stated total is off.
      totals_ignore_since: whether a total counts all records, whatever since when is asked for.

    The rate limit: `limit` requests in `window` seconds (None: as good as none), in windows that
    start at multiples of `window` of the clock or with the first request after the last one.
      reset_format, reset_rounding: X-RateLimit-Reset as a Unix time or in seconds from now.
      rate_limit_headers: whether there are any. retry_after: whether a 429 says when to come back.

    Trouble: `latency` in seconds for each answer, `fault_rate` as the share of requests that fail
    in passing, `mutate_every` n makes one random change before each n-th request,
    `before_request` is called before each one, with the lock held. `mutate_deletions`: whether
    random changes may delete. `seed` is for all that is random.

    The clock: `clock` gives Unix seconds, `clock_offset` how far the server's clock is ahead of it.
    `sleep` is what `transport()` waits with. To change `chat` while requests run, hold `lock`.
    """

    chat: Chat
    key: str = DEFAULT_KEY

    order: Order = "desc"
    shuffle_ties: bool = False
    message_order: MessageOrder = "asc"
    pagination: Pagination = "none"
    per_page_over_max: PerPageOverMax = "clamp"
    wrap: bool = True
    error_key: ErrorKey = "error"
    user_name: UserName = "full_name"
    reescalation_resolved: ReescalationResolved = "keep"
    id_type: IdType = "int"
    largest_page: int | None = None
    total_error: int = 0
    totals_ignore_since: bool = False

    limit: int | None = 120
    window: float = 60
    window_alignment: WindowAlignment = "clock"
    reset_format: ResetFormat = "unix"
    reset_rounding: ResetRounding = "ceil"
    rate_limit_headers: bool = True
    retry_after: bool = False

    latency: float = 0.0
    fault_rate: float = 0.0
    mutate_every: int = 0
    mutate_deletions: bool = True
    before_request: Callable[[Sandbox, Request], None] | None = None
    seed: int = 0

    clock: Callable[[], float] = time.time
    clock_offset: float = 0.0
    sleep: Callable[[float], None] = time.sleep

    lock: RLock = field(default_factory=RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in _OPTIONS.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}")
        if self.window <= 0:
            raise ValueError("window must be more than 0 seconds")
        self._random = Random(self.seed)
        self._faults: list[Fault] = []
        self._window_start = -math.inf
        self._spent = 0
        self._data_requests = 0
        self._sorted: list[Conversation] = []
        self._sorted_for: tuple[int, Order] | None = None
        self._in_flight = 0
        self._max_in_flight = 0
        self.reset_stats()

    # -- the clock ---------------------------------------------------------------------------

    def server_time(self) -> float:
        """The server's time in Unix seconds."""
        return self.clock() + self.clock_offset

    def now(self) -> datetime:
        """The server's time in UTC, in whole seconds."""
        return datetime.fromtimestamp(math.floor(self.server_time()), UTC)

    # -- requests ----------------------------------------------------------------------------

    def transport(self) -> httpx.MockTransport:
        """A transport for `httpx.Client` (any host; paths start with BASE_PATH), socketless.

        Latency is spent with `sleep`; a time-out raises httpx.ReadTimeout at once, a dropped
        connection httpx.ReadError.
        """

        def respond(request: httpx.Request) -> httpx.Response:
            with self.in_flight():
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
            if answer.drop == "disconnect":
                raise httpx.ReadError("the sandbox dropped the connection", request=request)
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

        return httpx.MockTransport(respond)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts a request as in flight, from its arrival to its answer."""
        with self.lock:
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self.lock:
                self._in_flight -= 1

    def handle(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Answer one request: `path` with BASE_PATH, `query` raw (no "?") or decoded.

        Never raises for what a client sends. The request counts for the limit here, on arrival;
        waiting for `Answer.latency` is the caller's part.
        """
        pairs = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else query
        request = route(
            Request(
                method=method.upper(),
                path=path,
                query=dict(pairs),
                headers={name.lower(): value for name, value in (headers or {}).items()},
                body=body,
            )
        )
        with self.lock:
            limit_headers, is_over = self._spend_one()
            self._count(request, is_over)
            if is_over:
                return self._answer(429, self._error("Rate limit exceeded"), limit_headers)
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            # RFC 9110: the scheme's case does not matter.
            if scheme.lower() != "bearer" or key != self.key:
                return self._answer(401, self._error("Missing or invalid API key"), limit_headers)

            self._data_requests += 1
            if self.mutate_every and self._data_requests % self.mutate_every == 0:
                self.change()
            if self.before_request is not None:
                self.before_request(self, request)
            fault = self._next_fault(request)
            if fault in ("timeout", "disconnect"):
                return self._answer(200, b"", limit_headers, drop=fault)
            if fault == "500":
                return self._answer(500, self._error("Internal server error"), limit_headers)
            if fault in ("503", "not_json"):
                page = b"<html><body><h1>Back in a moment</h1></body></html>"
                status = 503 if fault == "503" else 200
                return self._answer(status, page, limit_headers, content_type="text/html")
            try:
                status, payload = self._respond(request)
                if self.id_type == "str":
                    payload = _with_string_ids(payload)
                content = json.dumps(payload).encode()
            except Refusal as refusal:
                status, content = refusal.status, self._error(refusal.text)
            if fault == "truncated":
                content = content[: len(content) // 2]
            drop: Literal["disconnect"] | None = "disconnect" if fault == "lost_write" else None
            return self._answer(status, content, limit_headers, drop=drop)

    def _answer(
        self,
        status: int,
        body: bytes,
        limit_headers: dict[str, str],
        *,
        content_type: str = "application/json; charset=utf-8",
        drop: Literal["timeout", "disconnect"] | None = None,
    ) -> Answer:
        headers = {"Date": formatdate(math.floor(self.server_time()), usegmt=True)}
        headers |= {"Content-Type": content_type, **limit_headers}
        if status == 429 and self.retry_after:
            wait = self._window_start + self.window - self.server_time()
            headers["Retry-After"] = str(max(math.ceil(wait), 0))
        return Answer(status, headers, body, self.latency, drop)

    def _error(self, text: str) -> bytes:
        return json.dumps({self.error_key: text}).encode()

    # -- rate limit --------------------------------------------------------------------------

    def spend(self, requests: int) -> None:
        """Another program with the same key sends this many requests now."""
        with self.lock:
            self._roll_window()
            self._spent += requests

    def _roll_window(self) -> None:
        now = self.server_time()
        # A clock that was set back starts a new window too.
        if self._window_start <= now < self._window_start + self.window:
            return
        aligned = math.floor(now / self.window) * self.window
        self._window_start = aligned if self.window_alignment == "clock" else now
        self._spent = 0

    def _spend_one(self) -> tuple[dict[str, str], bool]:
        self._roll_window()
        self._spent += 1
        limit = NO_LIMIT if self.limit is None else self.limit
        if not self.rate_limit_headers:
            return {}, self._spent > limit
        reset = self._window_start + self.window
        if self.reset_format == "seconds":
            reset -= self.server_time()
        text = f"{reset:.3f}"
        if self.reset_rounding != "exact":
            text = str(math.ceil(reset) if self.reset_rounding == "ceil" else math.floor(reset))
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - self._spent, 0)),
            "X-RateLimit-Reset": text,
        }
        return headers, self._spent > limit

    # -- trouble -----------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> None:
        """Let something go wrong from now on. The first fault that matches a request strikes."""
        with self.lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        """Take back every added fault; `fault_rate` stays."""
        with self.lock:
            self._faults.clear()

    def change(self, count: int = 1) -> list[str]:
        """Make random changes to the chat at the server's time; returns their kinds."""
        with self.lock:
            return [
                self.chat.change(self._random, at=self.now(), deletions=self.mutate_deletions)
                for _ in range(count)
            ]

    def _next_fault(self, request: Request) -> FaultKind | None:
        for fault in self._faults:
            if fault.matches(request):
                if fault.times is not None:
                    fault.times -= 1
                return fault.kind
        if self.fault_rate and self._random.random() < self.fault_rate:
            passing: list[FaultKind] = ["500", "503", "disconnect"]
            if request.endpoint not in _WRITES:
                # Cut short, a write would have happened all the same.
                passing.append("truncated")
            return self._random.choice(passing)
        return None

    # -- counters and truth ------------------------------------------------------------------

    def _count(self, request: Request, is_over: bool) -> None:
        self._requests += 1
        self._windows[self._window_start] += 1
        if is_over:
            self._refused += 1
        elif request.endpoint is not None:
            self._by_endpoint[request.endpoint] += 1
            if request.endpoint == "show" and request.id is not None:
                self._shows[request.id] += 1

    def stats(self) -> Stats:
        """The counters since the last `reset_stats`."""
        with self.lock:
            return {
                "requests": self._requests,
                "refused": self._refused,
                "by_endpoint": {name: self._by_endpoint[name] for name, _, _ in _ENDPOINTS},
                "shows": dict(self._shows),
                "windows": sorted(self._windows.items()),
                "max_in_flight": self._max_in_flight,
            }

    def reset_stats(self) -> None:
        """Set every counter to zero; the rate limit's window stays."""
        with self.lock:
            self._requests = 0
            self._refused = 0
            self._by_endpoint: Counter[str] = Counter()
            self._shows: Counter[int] = Counter()
            self._windows: Counter[float] = Counter()
            self._max_in_flight = self._in_flight

    def truth(self) -> Truth:
        """All data as it is, whatever the pages show."""
        with self.lock:
            conversations = sorted(self.chat.conversations.values(), key=attrgetter("id"))
            return {
                "conversations": [self._conversation(c) for c in conversations],
                "messages": {c.id: [_message(m) for m in c.messages] for c in conversations},
                "users": [self._user(user) for user in self.chat.users.values()],
                "escalations": {
                    c.id: [_escalation(e) for e in c.escalations]
                    for c in conversations
                    if c.escalations
                },
                "deleted": sorted(self.chat.deleted),
            }

    # -- endpoints ---------------------------------------------------------------------------

    def _respond(self, request: Request) -> tuple[int, Json]:
        if request.endpoint is None:
            raise Refusal(404, "Not found")
        if request.chat_id != str(self.chat.chat_id):
            raise Refusal(404, "Chat not found")
        if request.endpoint == "list":
            return 200, self._list(request)
        if request.endpoint == "users":
            return 200, self._list_users(request)
        if request.endpoint == "user":
            user = self.chat.users.get(request.id or 0)
            if user is None:
                raise Refusal(404, "User not found")
            return 200, self._wrapped("user", self._user(user))
        conversation = self.chat.conversations.get(request.id or 0)
        if conversation is None:
            raise Refusal(404, "Conversation not found")
        if request.endpoint == "show":
            return 200, self._show(request, conversation)
        if request.endpoint == "assignment":
            return 200, self._assign(request, conversation)
        return 201, self._send(request, conversation)

    def _list(self, request: Request) -> Json:
        page, per_page = self._page(request, "page", "per_page", default=50, maximum=100)
        since = time_parameter(request, "last_message_at_since")
        found = self._ordered()
        if since is not None and self.order == "id":
            found = [c for c in found if c.last_message_at >= since]
        elif since is not None:
            # Ascending, so that all from here on belong to it.
            found = found[bisect_left(found, since, key=attrgetter("last_message_at")) :]
        total = len(found)
        first = (page - 1) * per_page
        if self.order == "desc":
            rows = found[max(total - first - per_page, 0) : max(total - first, 0)]
            rows.reverse()
        else:
            rows = found[first : first + per_page]
        if self.shuffle_ties and self.order != "id":
            rows = self._shuffled(found, first, per_page)
        payload = {"conversations": [self._conversation(c) for c in rows]}
        return payload | self._pages(
            page, per_page, total, all_records=len(self.chat.conversations)
        )

    def _ordered(self) -> list[Conversation]:
        """All conversations, ascending by (last_message_at, id) or by id; sorted once a change."""
        wanted = (self.chat.version, self.order)
        if self._sorted_for != wanted:
            self._sorted = sorted(self.chat.conversations.values(), key=attrgetter("id"))
            if self.order != "id":
                self._sorted.sort(key=attrgetter("last_message_at"))
            self._sorted_for = wanted
        return self._sorted

    def _shuffled(
        self, ascending: list[Conversation], first: int, per_page: int
    ) -> list[Conversation]:
        """The rows of a page when SQL sorts by last_message_at alone: ties come as they like."""
        ranked = ascending[::-1] if self.order == "desc" else ascending
        rows = ranked[first : first + per_page]
        if not rows:
            return rows
        start, end = first, first + len(rows)
        while start > 0 and ranked[start - 1].last_message_at == rows[0].last_message_at:
            start -= 1
        while end < len(ranked) and ranked[end].last_message_at == rows[-1].last_message_at:
            end += 1
        # A random second key among equals is a shuffle within each tie.
        tied = ranked[start:end]
        tied.sort(
            key=lambda c: (c.last_message_at, self._random.random()), reverse=self.order == "desc"
        )
        return tied[first - start : first - start + len(rows)]

    def _show(self, request: Request, conversation: Conversation) -> Json:
        page, per_page = self._page(
            request, "message_page", "message_per_page", default=100, maximum=200
        )
        since = time_parameter(request, "message_created_at_since")
        found = conversation.messages
        if since is not None:
            found = messages_since(found, since)
        if self.message_order == "desc":
            found = found[::-1]
        rows = found[(page - 1) * per_page : page * per_page]
        payload = self._conversation(conversation)
        if conversation.lead is not None:
            payload["lead"] = _lead(conversation.lead) | _lead_details(conversation.lead)
        payload["messages"] = [_message(message) for message in rows]
        pages = self._pages(page, per_page, len(found), all_records=len(conversation.messages))
        return self._wrapped("conversation", payload) | pages

    def _list_users(self, request: Request) -> Json:
        page, per_page = self._page(request, "page", "per_page", default=50, maximum=100)
        users = list(self.chat.users.values())
        rows = users[(page - 1) * per_page : page * per_page]
        payload = {"users": [self._user(user) for user in rows]}
        return payload | self._pages(page, per_page, len(users))

    def _assign(self, request: Request, conversation: Conversation) -> Json:
        body = _json_object(request.body)
        if "assignee_id" not in body:
            raise Refusal(422, "assignee_id is required (use null to assign to AI)")
        user_id = body["assignee_id"]
        if user_id is not None and not self._is_user(user_id):
            raise Refusal(422, "assignee_id is not an assignable user for this chat")
        self.chat.assign(conversation.id, user_id, at=self.now())
        return self._wrapped("conversation", self._conversation(conversation))

    def _send(self, request: Request, conversation: Conversation) -> Json:
        body = _json_object(request.body)
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
        return {"message": _message(message)}

    def _is_user(self, user_id: object) -> bool:
        # JSON's true is Python's 1.
        return type(user_id) is int and user_id in self.chat.users

    # -- parameters and payloads -------------------------------------------------------------

    def _page(
        self, request: Request, page_name: str, per_page_name: str, *, default: int, maximum: int
    ) -> tuple[int, int]:
        page = count_parameter(request, page_name, 1)
        per_page = count_parameter(request, per_page_name, default)
        if per_page > maximum and self.per_page_over_max == "refuse":
            raise Refusal(422, f"{per_page_name} must be at most {maximum}")
        return page, min(per_page, maximum, self.largest_page or maximum)

    def _pages(
        self, page: int, per_page: int, matching: int, *, all_records: int | None = None
    ) -> Json:
        pages = math.ceil(matching / per_page)
        counted = all_records if self.totals_ignore_since and all_records is not None else matching
        total = max(0, counted + self.total_error)
        if self.pagination == "meta":
            meta = {"current_page": page, "per_page": per_page}
            return {"meta": {**meta, "total_pages": pages, "total_count": total}}
        if self.pagination == "pagination":
            following = page + 1 if page < pages else None
            pagination = {"page": page, "per_page": per_page, "total": total}
            return {"pagination": {**pagination, "next_page": following}}
        return {}

    def _wrapped(self, name: str, payload: Json) -> Json:
        return {name: payload} if self.wrap else payload

    def _conversation(self, conversation: Conversation) -> Json:
        assignee = None
        if conversation.assignee_id is not None:
            user = self.chat.user(conversation.assignee_id)
            assignee = {"id": user.id, **self._name(user), "email": user.email}
        last = conversation.escalations[-1] if conversation.escalations else None
        resolved = last.resolved_at if last is not None else None
        if self.reescalation_resolved == "keep" and resolved is None:
            former = [e.resolved_at for e in conversation.escalations if e.resolved_at is not None]
            resolved = former[-1] if former else None
        return {
            "id": conversation.id,
            "chat_id": self.chat.chat_id,
            "created_at": _timestamp(conversation.created_at),
            "last_message_at": _timestamp(conversation.last_message_at),
            "channel": conversation.channel,
            "manual_reply_mode": conversation.manual_reply_mode,
            "last_escalated_at": _timestamp(last.escalated_at) if last is not None else None,
            "last_escalation_resolved_at": _timestamp(resolved) if resolved is not None else None,
            "share_url": conversation.share_url,
            "lead": None if conversation.lead is None else _lead(conversation.lead),
            "assignee": assignee,
        }

    def _user(self, user: User) -> Json:
        return {
            "id": user.id,
            **self._name(user),
            "email": user.email,
            "avatar_url": user.avatar_url,
            "role": user.role,
        }

    def _name(self, user: User) -> Json:
        if self.user_name == "first_last":
            return {"first_name": user.first_name, "last_name": user.last_name}
        return {self.user_name: user.full_name}


def route(request: Request) -> Request:
    """The request with its endpoint, chat and id filled in, as far as the path has them."""
    chat_path = _CHAT_PATH.fullmatch(request.path)
    if chat_path is None:
        return request
    chat_id, rest = chat_path.groups()
    for endpoint, method, pattern in _ENDPOINTS:
        match = pattern.fullmatch(rest)
        if match is not None and method == request.method:
            record_id = int(match.group(1)) if pattern.groups else None
            return Request(
                request.method,
                request.path,
                request.query,
                request.headers,
                request.body,
                endpoint,
                chat_id,
                record_id,
            )
    return request


def count_parameter(request: Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise Refusal(422, f"{name} must be a positive integer")
    return int(text)


def time_parameter(request: Request, name: str) -> datetime | None:
    """A time zone is optional (UTC); "+" not escaped arrives as a blank and is malformed."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refusal(422, f"{name} must be an ISO 8601 timestamp") from None


def _json_object(body: bytes) -> Json:
    """The body's object; anything else counts as an empty one, so the first field is missing."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _with_string_ids(value: Any) -> Any:
    """JSON with every id as a string of digits."""
    if isinstance(value, list):
        return [_with_string_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: str(item)
        if (name == "id" or name.endswith("_id")) and type(item) is int
        else _with_string_ids(item)
        for name, item in value.items()
    }


def _timestamp(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _message(message: Message) -> Json:
    return {
        "id": message.id,
        "role": message.role,
        "message": message.message,
        "manual_reply": message.manual_reply,
        "status": message.status,
        "sender_id": message.sender_id,
        "created_at": _timestamp(message.created_at),
    }


def _lead(lead: Lead) -> Json:
    return {
        "id": lead.id,
        "full_name": lead.full_name,
        "email": lead.email,
        "phone_number": lead.phone_number,
        "email_marketing_consent": lead.email_marketing_consent,
    }


def _lead_details(lead: Lead) -> Json:
    return {
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "shopify_customer_id": lead.shopify_customer_id,
        "additional_attributes": lead.additional_attributes,
    }


def _escalation(escalation: Escalation) -> Json:
    resolved = escalation.resolved_at
    return {
        "escalated_at": _timestamp(escalation.escalated_at),
        "resolved_at": None if resolved is None else _timestamp(resolved),
    }
