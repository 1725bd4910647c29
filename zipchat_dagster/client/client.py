"""`ZipchatClient`: one method for each endpoint of the Zipchat Backend API."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx
import tenacity

from zipchat_dagster.client.budget import (
    LONGEST_SLEEP,
    Budget,
    BudgetTransport,
    Clock,
    SystemClock,
    date_of,
)
from zipchat_dagster.client.errors import (
    IncompleteError,
    MalformedAnswerError,
    NotFoundError,
    PageLoopError,
    Retry,
    UnreachableError,
    error_for,
    retry_after,
)
from zipchat_dagster.client.gather import Gathering
from zipchat_dagster.client.listing import Ahead, Listing, Page
from zipchat_dagster.client.options import (
    BASE_URL,
    CONCURRENCY,
    MAX_IN_FLIGHT,
    check_api_key,
    check_base_url,
    check_chat_id,
    check_concurrency,
    check_reserve,
    checked,
    proxy_for,
)
from zipchat_dagster.client.window import DOCUMENTED_LENGTH

T = TypeVar("T")
R = TypeVar("R")
Json = dict[str, Any]

LARGEST_PAGE: Final = 100  # documented maximum of per_page
LARGEST_MESSAGE_PAGE: Final = 200  # documented maximum of message_per_page
SLOW: Final = 0.5  # seconds; answers that take longer are worth asking for ahead
ATTEMPTS: Final = 5  # of one call, before its failure is believed
NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
LONGEST_WORDS: Final = 300  # characters of the API's own error message that are passed on


@dataclass(frozen=True)
class ConversationRead:
    """One conversation with its messages, as one or more answers showed them.

    Attributes:
        conversation: the record as received, without its messages.
        messages: the records as received, each once, in the API's order.
        observed_at: the server's time of the first answer: what was there then is in here.
        stated_messages: how many messages the API says match, where it says so.
    """

    conversation: Json
    messages: list[Json]
    observed_at: datetime
    stated_messages: int | None


class ZipchatClient:
    """The Zipchat Backend API of one chat. Thread-safe; a context manager.

    Reads are retried when that may help (time-outs, broken connections, 5xx, bodies that are not
    JSON), writes only when they surely never arrived. Every call waits for room in the rate
    limit (`budget.py`).

    Args:
        api_key: the key, `zc-…`. It appears in no message, log or `repr`.
        chat_id: the chat's number.
        base_url: where the API is. Plain http is accepted for loopback only.
        budget_path: the SQLite file through which programs on this machine share the rate limit;
            None keeps it to this client.
        reserve: the fraction (0 to 1) of each window that is left to others.
        concurrency: reads that `gather` keeps in flight; raised where the latency is so long that
            the window could not be spent otherwise.
        timeout: seconds for one answer.
        transport: what to send through instead of the network.
        clock: time and sleep, for tests.
        logger: where waits and retries are told.

    Raises:
        SettingError: a setting is missing or malformed.
    """

    def __init__(
        self,
        *,
        api_key: str,
        chat_id: int | str,
        base_url: str = BASE_URL,
        budget_path: Path | None = None,
        reserve: float = 0.0,
        concurrency: int = CONCURRENCY,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.chat_id = checked("chat_id", check_chat_id, chat_id)
        self._chat = f"/chats/{self.chat_id}"
        self.clock = clock or SystemClock()
        self._logger = logger or logging.getLogger("zipchat_dagster")
        self._concurrency = checked("concurrency", check_concurrency, concurrency)
        key = checked("api_key", check_api_key, api_key)
        url = checked("base_url", check_base_url, base_url)
        self._latency = 0.0  # seconds, a moving average
        self.has_answered = False  # with JSON, ever
        self._ahead = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="zipchat-ahead")
        self._is_given_up = False
        self._lock = threading.Lock()
        self._budget = Budget(
            key,
            path=budget_path,
            reserve=checked("reserve", check_reserve, reserve),
            clock=self.clock,
            logger=self._logger,
        )
        limits = httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=32)
        network = transport or httpx.HTTPTransport(limits=limits, proxy=proxy_for(url))
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=timeout,
            follow_redirects=False,
            transport=BudgetTransport(_Timed(network, self), self._budget),
        )

    def __repr__(self) -> str:
        return f"ZipchatClient(chat_id={self.chat_id})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and the budget's file; calls that wait are given up."""
        self._give_up()
        self._ahead.shutdown(cancel_futures=True)
        self._http.close()

    @property
    def requests(self) -> int:
        """Requests sent by this client."""
        return self._budget.requests

    @property
    def refused(self) -> int:
        """Of those, how many were answered 429."""
        return self._budget.refused

    @property
    def waited_seconds(self) -> float:
        """Seconds in which this client waited for the rate limit."""
        return self._budget.waited_seconds

    @property
    def rate_limit(self) -> tuple[int, float]:
        """(requests, seconds): how many the API allows in how long a window, by its answers; before
        the first one, what the documentation says. The window is never taken as shorter than that:
        seen from its middle it looks so."""
        window = self._budget.window()
        return window.limit, max(window.length, DOCUMENTED_LENGTH)

    def server_time(self) -> datetime:
        """Now by the server's clock, as far as its answers told (UTC)."""
        offset = self._budget.window().offset or 0.0
        return datetime.fromtimestamp(self.clock.time() + offset, UTC)

    # Reads

    def iter_conversations(self, *, since: datetime | None = None) -> Iterator[Json]:
        """Conversations with activity at or after `since` (aware; None: all), each at least once.

        In the API's order; one that changes while the list is read may come again, newer.

        Raises:
            ListingUnsettledError: at the end, when the list moved too fast to be sure of it.
        """
        for rows, _ in self.list_conversations(since=since):
            yield from rows

    def list_conversations(self, *, since: datetime | None = None) -> Listing:
        """Like `iter_conversations`, by pages and with proof of completeness: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            query = {"page": number, "per_page": size, "last_message_at_since": _iso(since)}
            return self._page("conversations", query)

        return Listing(
            fetch,
            since=since,
            page_size=LARGEST_PAGE,
            ahead=Ahead(self._ahead.submit, self._pages_ahead),
            logger=self._logger,
        )

    def get_conversations_page(self, number: int = 1, *, since: datetime | None = None) -> Page:
        """One page of up to `LARGEST_PAGE` conversations active at or after `since` (aware; None:
        all), as the API gives it: for a look, since pages of a list that moves prove nothing.

        Args:
            number: counted from 1.
        """
        query = {
            "page": number,
            "per_page": LARGEST_PAGE,
            "last_message_at_since": _iso(since),
        }
        return self._page("conversations", query)

    def get_conversation(self, conversation_id: int, *, since: datetime | None = None) -> Json:
        """One conversation with all its messages (those created at or after `since`, aware).

        Returns:
            the record as the show endpoint gives it; `messages` holds those of all message pages.

        Raises:
            NotFoundError: this chat has no such conversation.
            IncompleteError: the API states more messages than it gives.
        """
        read = self.read_conversation(conversation_id, since=since)
        return {**read.conversation, "messages": read.messages}

    def read_conversation(
        self, conversation_id: int, *, since: datetime | None = None
    ) -> ConversationRead:
        """Like `get_conversation`, with the server's time and the count that the API states."""
        read = self._read_message_pages(conversation_id, since)
        if _is_short(read) and since is not None:
            # Some servers may state the count of all messages whatever `since` asks for.
            read = self._read_message_pages(conversation_id, None)
        if _is_short(read):
            read = self._read_message_pages(conversation_id, None)
        if _is_short(read):
            raise IncompleteError(
                f"conversation {conversation_id}: the API states {read.stated_messages} messages"
                f" and gave {len(read.messages)}, twice. They are asked for again next time."
            )
        return read

    def iter_users(self) -> Iterator[Json]:
        """The users who can be assigned to this chat's conversations, each once."""
        seen: dict[Any, Json] = {}
        for rows, _ in self.list_users():
            known = len(seen)
            _collect(rows, seen)
            yield from list(seen.values())[known:]

    def list_users(self) -> Listing:
        """Like `iter_users`, by pages: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            return self._page("users", {"page": number, "per_page": size})

        return Listing(fetch, page_size=LARGEST_PAGE, activity_field=None, logger=self._logger)

    def get_user(self, user_id: int) -> Json:
        """One user of this chat.

        Raises:
            NotFoundError: the user cannot be assigned to this chat's conversations.
        """
        path = f"{self._chat}/users/{int(user_id)}"
        body, _ = self._call("GET", path)
        return _unwrapped(body, "user", method="GET", path=path)

    # Writes

    def assign(self, conversation_id: int, assignee_id: int) -> Json:
        """Take a conversation over from the AI: manual mode, with this user as its assignee.

        Raises:
            NotFoundError: this chat has no such conversation.
            UnprocessableError: the user is not assignable.
        """
        return self._assign(conversation_id, int(assignee_id))

    def hand_back(self, conversation_id: int) -> Json:
        """Hand a conversation back to the AI and unassign it. Raises like `assign`."""
        return self._assign(conversation_id, None)

    def send_message(self, conversation_id: int, *, message: str, sender_id: int) -> Json:
        """Send a manual reply to the customer, through the conversation's channel.

        Never sent twice: after an unclear failure (`UnreachableError` with `was_sent`, a 5xx)
        nobody knows whether the customer got it, and reading the conversation tells.
        The same holds after a `MalformedAnswerError`: an answer came that cannot be read.

        Raises:
            NotFoundError: this chat has no such conversation.
            UnprocessableError: AI mode, an unknown sender, no message, or the 24-hour rule.
        """
        path = f"{self._chat}/conversations/{int(conversation_id)}/messages"
        json_body = {"message": _without_surrogates(message), "sender_id": int(sender_id)}
        body, _ = self._call("POST", path, json_body=json_body)
        return _unwrapped(body, "message", method="POST", path=path)

    # Many at once

    def gather(
        self, function: Callable[[T], R], items: Iterable[T]
    ) -> Iterator[list[tuple[T, R | Exception]]]:
        """Call `function` for each item with several calls in flight.

        Yields lists of (item, result or the exception it raised) in batches worth storing, in the
        order of completion; calls go on meanwhile (see `gather.py`). Abandoning the iteration
        closes the client, and does not wait for the calls that are under way.
        """
        gathering = Gathering(
            function,
            items,
            in_flight=self._in_flight,
            size=_size,
            most_threads=MAX_IN_FLIGHT,
            time=self.clock.time,
        )
        is_done = False
        try:
            yield from gathering
            is_done = True
        finally:
            if not is_done:
                self._give_up()

    def _in_flight(self) -> int:
        """As many as it takes to spend a window's budget in half the window (Little's law).

        Only where answers are slow: what is in flight is lost when the process is killed.
        """
        if self._latency <= SLOW:
            return self._concurrency
        window = self._budget.window()
        needed = math.ceil(2 * window.limit * self._latency / window.length)
        return max(self._concurrency, min(needed, window.limit, MAX_IN_FLIGHT))

    def _give_up(self) -> None:
        self._is_given_up = True
        self._budget.cancel()

    def _pages_ahead(self) -> int:
        """Pages of a list to ask for before they are needed: none where answers are quick."""
        return self._concurrency if self._latency > SLOW else 0

    def _saw_latency(self, seconds: float) -> None:
        with self._lock:
            self._latency += (seconds - self._latency) / (10 if self._latency else 1)

    # One call

    def _page(self, name: str, query: Mapping[str, Any]) -> Page:
        path = f"{self._chat}/{name}"
        try:
            body, observed_at = self._call("GET", path, query=query)
        except NotFoundError as error:
            raise NotFoundError(
                error.status,
                error.api_message,
                method=error.method,
                path=error.path,
                hint=f"Check ZIPCHAT_CHAT_ID ({self.chat_id}) and ZIPCHAT_BASE_URL.",
            ) from None
        rows = _rows(body, name, path=path)
        stated = _stated(body)
        return Page(rows, observed_at, stated.total, stated.per_page, stated.is_last)

    def _read_message_pages(self, conversation_id: int, since: datetime | None) -> ConversationRead:
        path = f"{self._chat}/conversations/{int(conversation_id)}"
        messages: dict[Any, Json] = {}
        first: tuple[Json, datetime, int | None] | None = None
        rows: list[Json] = []
        number = 0
        while True:
            number += 1
            query = {
                "message_page": number,
                "message_per_page": LARGEST_MESSAGE_PAGE,
                "message_created_at_since": _iso(since),
            }
            body, observed_at = self._call("GET", path, query=query)
            conversation = _unwrapped(body, "conversation", method="GET", path=path)
            previous, rows = rows, _rows(conversation, "messages", path=path)
            stated = _stated(body if "conversation" in body else conversation, conversation)
            first = first or (
                {name: value for name, value in conversation.items() if name != "messages"},
                observed_at,
                stated.total,
            )
            is_short = len(rows) < LARGEST_MESSAGE_PAGE
            is_new = _collect(rows, messages) and rows != previous
            is_enough = stated.total is None or len(messages) >= stated.total
            if stated.is_last or (is_short and stated.is_last is None and is_enough):
                break
            if not is_new:
                if is_short:
                    break
                raise PageLoopError(
                    f"conversation {conversation_id}: message page {number} repeats what earlier"
                    " pages showed. Does the server understand `message_page`?"
                )
        return ConversationRead(first[0], list(messages.values()), first[1], first[2])

    def _assign(self, conversation_id: int, assignee_id: int | None) -> Json:
        path = f"{self._chat}/conversations/{int(conversation_id)}/assignment"
        body, _ = self._call("PATCH", path, json_body={"assignee_id": assignee_id})
        return _unwrapped(body, "conversation", method="PATCH", path=path)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json_body: Json | None = None,
    ) -> tuple[Any, datetime]:
        """One call with its retries: the decoded body and the server's time of the answer."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: self._may_retry(method, error)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 0.5),
            sleep=self._pause,
            before_sleep=self._say_retry,
            reraise=True,
        )
        return retrying(self._call_once, method, path, query, json_body)

    def _pause(self, seconds: float) -> None:
        """In short sleeps, so that giving up is quick."""
        while seconds > 0 and not self._is_given_up:
            self.clock.sleep(min(seconds, LONGEST_SLEEP))
            seconds -= LONGEST_SLEEP

    def _call_once(
        self, method: str, path: str, query: Mapping[str, Any] | None, json_body: Json | None
    ) -> tuple[Any, datetime]:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        call = {"method": method, "path": path}
        try:
            response = self._http.request(method, path, params=params, json=json_body)
        except httpx.DecodingError:
            raise MalformedAnswerError("the answer is compressed wrongly.", **call) from None
        except httpx.TransportError as error:
            never_sent = isinstance(error, NEVER_SENT)
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise UnreachableError(
                f"no answer from {self._http.base_url.host} ({what})."
                + ("" if self.has_answered else " Check ZIPCHAT_BASE_URL and the network."),
                was_sent=not never_sent,
                **call,
            ) from None
        if not response.is_success:
            raise error_for(response.status_code)(
                response.status_code, _api_message(response), **call
            )
        try:
            body = _decoded(response.content)
        except (ValueError, RecursionError):
            kind = response.headers.get("Content-Type", "no content type")[:LONGEST_WORDS]
            raise MalformedAnswerError(
                f"the answer is not JSON ({kind}, {len(response.content)} bytes)."
                + ("" if self.has_answered else " Check ZIPCHAT_BASE_URL."),
                **call,
            ) from None
        self.has_answered = True
        at = date_of(response)
        return body, datetime.fromtimestamp(self.clock.time() if at is None else at, UTC)

    def _may_retry(self, method: str, error: BaseException) -> bool:
        if not self.has_answered and isinstance(error, UnreachableError) and not error.was_sent:
            return False  # a wrong address gets one clear sentence, not a stack of retries
        verdict = retry_after(error)
        return verdict is Retry.ALWAYS or (verdict is Retry.READS and method == "GET")

    def _say_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self._logger.warning(
            f"{str(error).rstrip('.')}. Trying again in {pause:.1f} s"
            f" (attempt {state.attempt_number + 1} of {ATTEMPTS})."
        )


class _Timed(httpx.BaseTransport):
    """Tells the client how long answers take, without the time spent waiting for the budget."""

    def __init__(self, wrapped: httpx.BaseTransport, client: ZipchatClient) -> None:
        self._wrapped = wrapped
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        started = self._client.clock.time()
        response = self._wrapped.handle_request(request)
        self._client._saw_latency(max(0.0, self._client.clock.time() - started))
        return response

    def close(self) -> None:
        self._wrapped.close()


@dataclass(frozen=True)
class _Stated:
    """What an answer says about its own pages, under whichever name."""

    total: int | None = None
    per_page: int | None = None
    is_last: bool | None = None


def _stated(*places: Any) -> _Stated:
    """Pagination metadata of unknown name (api.md): `meta`, `pagination`, or none at all."""
    for place in places:
        for name, found in place.items() if isinstance(place, Mapping) else ():
            if isinstance(found, Mapping) and ("meta" in name or "pagination" in name):
                total = _count(found, "total_count", "total")
                pages, page = _count(found, "total_pages"), _count(found, "current_page", "page")
                is_last = None
                if "next_page" in found:
                    is_last = found["next_page"] is None
                elif pages is not None and page is not None:
                    is_last = page >= pages
                stated = _Stated(total, _count(found, "per_page"), is_last)
                if stated != _Stated():  # else it is metadata about something else
                    return stated
    return _Stated()


def _count(found: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _is_short(read: ConversationRead) -> bool:
    return read.stated_messages is not None and len(read.messages) < read.stated_messages


def _size(result: object) -> int:
    """How much a result adds to a batch: its records."""
    return 1 + len(result.messages) if isinstance(result, ConversationRead) else 1


def _collect(rows: list[Json], into: dict[Any, Json]) -> bool:
    """Add rows by their id, each once; those without a usable one are kept each for itself.
    Returns whether any was new."""
    known = len(into)
    for row in rows:
        row_id = row.get("id")
        into[row_id if isinstance(row_id, int | str) else ("unnamed", len(into))] = row
    return len(into) > known


def _decoded(content: bytes) -> Any:
    """JSON, strictly: no NaN, and half of a surrogate pair becomes U+FFFD, since no database
    takes it."""
    body = json.loads(content, parse_constant=_refuse_constant)
    if b"\\ud" in content.lower() or b"\xed" in content:
        body = json.loads(_without_surrogates(json.dumps(body, ensure_ascii=False)))
    return body


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _rows(body: Any, name: str, *, path: str) -> list[Json]:
    rows = body.get(name) if isinstance(body, Mapping) else body
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise MalformedAnswerError(
        f"the answer holds no list “{name}” of objects", method="GET", path=path
    )


def _unwrapped(body: Any, name: str, *, method: str, path: str) -> Json:
    """The record, with or without its wrapper (api.md: both are seen)."""
    record = body.get(name, body) if isinstance(body, Mapping) else None
    if name == "message" and isinstance(record, str):
        record = body  # a bare message has a field of the wrapper's name
    if not isinstance(record, dict):
        raise MalformedAnswerError(f"the answer holds no object “{name}”", method=method, path=path)
    return record


def _api_message(response: httpx.Response) -> str | None:
    """The API's own words from `{"error": …}` or `{"message": …}`; never another body's text."""
    try:
        body = _decoded(response.content)
    except (ValueError, RecursionError):
        return None
    for name in ("error", "message", "errors") if isinstance(body, Mapping) else ():
        words = body.get(name)
        if isinstance(words, Mapping):
            words = words.get("message")
        if isinstance(words, list):
            words = "; ".join(word for word in words if isinstance(word, str))
        if isinstance(words, str) and words:
            key = response.request.headers["Authorization"].removeprefix("Bearer ")
            return words.replace(key, "zc-…")[:LONGEST_WORDS]
    return None


def _iso(at: datetime | None) -> str | None:
    """`2026-01-15T10:30:00Z`, cut to the second: the API's bounds are inclusive."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError("since needs a time zone: datetime(…, tzinfo=UTC)")
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
