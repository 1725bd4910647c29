"""`ZipchatClient`: one method for each endpoint of the Zipchat Backend API."""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx
import tenacity

from zipchat_dagster.client.budget import Budget, BudgetTransport, Clock, SystemClock, date_of
from zipchat_dagster.client.errors import (
    IncompleteError,
    MalformedAnswerError,
    NotFoundError,
    PageLoopError,
    Retry,
    SettingError,
    UnreachableError,
    error_for,
    retry_after,
)
from zipchat_dagster.client.listing import Listing, Page

T = TypeVar("T")
R = TypeVar("R")
Json = dict[str, Any]

BASE_URL: Final = "https://app.zipchat.ai/api/integrations/backend_api/v1"
LARGEST_PAGE: Final = 100  # documented maximum of per_page
LARGEST_MESSAGE_PAGE: Final = 200  # documented maximum of message_per_page
ATTEMPTS: Final = 5  # of one call, before its failure is believed
MAX_IN_FLIGHT: Final = 128
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
        concurrency: int = 8,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.chat_id = check_chat_id(chat_id)
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger("zipchat_dagster")
        self._concurrency = check_concurrency(concurrency)
        key = check_api_key(api_key)
        url = check_base_url(base_url)
        self._latency = 0.0  # seconds, a moving average
        self._has_answered = False
        self._lock = threading.Lock()
        self._budget = Budget(
            key,
            path=budget_path,
            reserve=check_reserve(reserve),
            clock=self._clock,
            logger=self._logger,
        )
        limits = httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=32)
        network = transport or httpx.HTTPTransport(limits=limits)
        self._http = httpx.Client(
            base_url=f"{url}/chats/{self.chat_id}/",
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
        self._budget.cancel()
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

    def server_time(self) -> datetime:
        """Now by the server's clock, as far as its answers told (UTC)."""
        offset = self._budget.window().offset or 0.0
        return datetime.fromtimestamp(self._clock.time() + offset, UTC)

    # Reads

    def iter_conversations(self, *, since: datetime | None = None) -> Iterator[Json]:
        """Conversations with activity at or after `since` (aware; None: all), each at least once.

        In the API's order; one that changes while the list is read may come again, newer.

        Raises:
            ListingUnsettledError: at the end, when the list moved too fast to be sure of it.
        """
        for rows, _ in self.list_conversations(since=since):
            yield from rows  # type: ignore[misc]  # _rows made sure that they are dicts

    def list_conversations(self, *, since: datetime | None = None) -> Listing:
        """Like `iter_conversations`, by pages and with proof of completeness: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            query = {"page": number, "per_page": size, "last_message_at_since": _iso(since)}
            return self._page("conversations", "conversations", query)

        return Listing(fetch, since=since, page_size=LARGEST_PAGE, logger=self._logger)

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
        seen = set()
        for rows, _ in self.list_users():
            for row in rows:
                if row.get("id") not in seen:
                    seen.add(row.get("id"))
                    yield dict(row)

    def list_users(self) -> Listing:
        """Like `iter_users`, by pages: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            return self._page("users", "users", {"page": number, "per_page": size})

        return Listing(fetch, page_size=LARGEST_PAGE, activity_field=None, logger=self._logger)

    def get_user(self, user_id: int) -> Json:
        """One user of this chat.

        Raises:
            NotFoundError: the user cannot be assigned to this chat's conversations.
        """
        body, _ = self._call("GET", f"users/{int(user_id)}")
        return _unwrapped(body, "user")

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

        Raises:
            NotFoundError: this chat has no such conversation.
            UnprocessableError: AI mode, an unknown sender, no message, or the 24-hour rule.
        """
        body, _ = self._call(
            "POST",
            f"conversations/{int(conversation_id)}/messages",
            json_body={"message": message, "sender_id": int(sender_id)},
        )
        return _unwrapped(body, "message")

    # Many at once

    def gather(
        self, function: Callable[[T], R], items: Iterable[T]
    ) -> Iterator[list[tuple[T, R | Exception]]]:
        """Call `function` for each item with several calls in flight.

        Yields what is done by now as a list of (item, result or the exception it raised), in the
        order of completion, so that the caller can store it in one go. Takes the next items only
        as there is room. Abandoning the iteration closes the client.
        """
        pending: dict[Future[R], T] = {}
        source = iter(items)
        in_flight = self._in_flight()
        with ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="zipchat") as pool:
            try:
                while True:
                    while len(pending) < in_flight:
                        try:
                            item = next(source)
                        except StopIteration:
                            break
                        pending[pool.submit(function, item)] = item
                    if not pending:
                        return
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    batch = [(pending.pop(future), _outcome(future)) for future in done]
                    in_flight = self._in_flight()
                    yield batch
            except BaseException:
                self._budget.cancel()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _in_flight(self) -> int:
        """As many as it takes to spend half a window's budget in half the window (Little)."""
        window = self._budget.window()
        needed = math.ceil(2 * window.limit * self._latency / window.length)
        return max(self._concurrency, min(needed, window.limit, MAX_IN_FLIGHT))

    def _saw_latency(self, seconds: float) -> None:
        with self._lock:
            self._latency += (seconds - self._latency) / (10 if self._latency else 1)

    # One call

    def _page(self, path: str, name: str, query: Mapping[str, Any]) -> Page:
        try:
            body, observed_at = self._call("GET", path, query=query)
        except NotFoundError as error:
            raise NotFoundError(
                error.status,
                f"{error.api_message or 'not found'}: check ZIPCHAT_CHAT_ID ({self.chat_id}) and"
                " ZIPCHAT_BASE_URL",
                method=error.method,
                path=error.path,
            ) from None
        rows = _rows(body, name, path=path)
        stated = _stated(body)
        return Page(rows, observed_at, stated.total, stated.per_page, stated.is_last)

    def _read_message_pages(self, conversation_id: int, since: datetime | None) -> ConversationRead:
        path = f"conversations/{int(conversation_id)}"
        messages: dict[Any, Json] = {}
        first: tuple[Json, datetime, int | None] | None = None
        number = 0
        while True:
            number += 1
            query = {
                "message_page": number,
                "message_per_page": LARGEST_MESSAGE_PAGE,
                "message_created_at_since": _iso(since),
            }
            body, observed_at = self._call("GET", path, query=query)
            conversation = _unwrapped(body, "conversation")
            rows = _rows(conversation, "messages", path=path)
            stated = _stated(body if "conversation" in body else conversation, conversation)
            first = first or (
                {name: value for name, value in conversation.items() if name != "messages"},
                observed_at,
                stated.total,
            )
            known = len(messages)
            messages.update((row.get("id", ("unnamed", len(messages))), row) for row in rows)
            if stated.total is not None and len(messages) >= stated.total:
                break
            if stated.is_last or (stated.is_last is None and len(rows) < LARGEST_MESSAGE_PAGE):
                break
            if len(messages) == known:
                if not rows:
                    break
                raise PageLoopError(
                    f"conversation {conversation_id}: message page {number} repeats what earlier"
                    " pages showed. Does the server understand `message_page`?"
                )
        return ConversationRead(first[0], list(messages.values()), first[1], first[2])

    def _assign(self, conversation_id: int, assignee_id: int | None) -> Json:
        body, _ = self._call(
            "PATCH",
            f"conversations/{int(conversation_id)}/assignment",
            json_body={"assignee_id": assignee_id},
        )
        return _unwrapped(body, "conversation")

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
            wait=tenacity.wait_exponential_jitter(initial=0.5, max=30, jitter=0.5),
            sleep=self._clock.sleep,
            before_sleep=self._say_retry,
            reraise=True,
        )
        return retrying(self._call_once, method, path, query, json_body)

    def _call_once(
        self, method: str, path: str, query: Mapping[str, Any] | None, json_body: Json | None
    ) -> tuple[Any, datetime]:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        call = {"method": method, "path": f"/chats/{self.chat_id}/{path}"}
        try:
            response = self._http.request(method, path, params=params, json=json_body)
        except httpx.TransportError as error:
            never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise UnreachableError(
                f"no answer from {self._http.base_url.host} ({what})."
                + ("" if self._has_answered else " Check ZIPCHAT_BASE_URL and the network."),
                was_sent=not never_sent,
                **call,
            ) from None
        if not response.is_success:
            raise error_for(response.status_code)(
                response.status_code, _api_message(response), **call
            )
        try:
            body = _decoded(response.content)
        except ValueError:
            kind = response.headers.get("Content-Type", "no content type")
            raise MalformedAnswerError(
                f"the answer is not JSON ({kind}, {len(response.content)} bytes)."
                + ("" if self._has_answered else " Check ZIPCHAT_BASE_URL."),
                **call,
            ) from None
        self._has_answered = True
        at = date_of(response)
        return body, datetime.fromtimestamp(self._clock.time() if at is None else at, UTC)

    def _may_retry(self, method: str, error: BaseException) -> bool:
        if not self._has_answered and isinstance(error, UnreachableError) and not error.was_sent:
            return False  # a wrong address gets one clear sentence, not a stack of retries
        verdict = retry_after(error)
        return verdict is Retry.ALWAYS or (verdict is Retry.READS and method == "GET")

    def _say_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self._logger.warning(
            f"{error} Trying again in {pause:.1f} s (attempt {state.attempt_number + 1} of"
            f" {ATTEMPTS})."
        )


class _Timed(httpx.BaseTransport):
    """Tells the client how long answers take, without the time spent waiting for the budget."""

    def __init__(self, wrapped: httpx.BaseTransport, client: ZipchatClient) -> None:
        self._wrapped = wrapped
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        started = self._client._clock.time()
        response = self._wrapped.handle_request(request)
        self._client._saw_latency(max(0.0, self._client._clock.time() - started))
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
        if not isinstance(place, Mapping):
            continue
        for name, found in place.items():
            if isinstance(found, Mapping) and ("meta" in name or "pagination" in name):
                total = _count(found, "total_count", "total")
                pages, page = _count(found, "total_pages"), _count(found, "current_page", "page")
                is_last = None
                if "next_page" in found:
                    is_last = found["next_page"] is None
                elif pages is not None and page is not None:
                    is_last = page >= pages
                return _Stated(total, _count(found, "per_page"), is_last)
    return _Stated()


def _count(found: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _is_short(read: ConversationRead) -> bool:
    return read.stated_messages is not None and len(read.messages) < read.stated_messages


def _outcome(future: Future[R]) -> R | Exception:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


def _decoded(content: bytes) -> Any:
    """JSON, strictly: no NaN, and half of a surrogate pair becomes U+FFFD, since no database
    takes it."""
    body = json.loads(content, parse_constant=_refuse_constant)
    if b"\\ud" in content.lower():
        text = json.dumps(body, ensure_ascii=False)
        body = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return body


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _rows(body: Any, name: str, *, path: str) -> list[Json]:
    rows = body.get(name) if isinstance(body, Mapping) else body
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise MalformedAnswerError(
        f"the answer holds no list “{name}” of objects", method="GET", path=path
    )


def _unwrapped(body: Any, name: str) -> Json:
    """The record, with or without its wrapper (api.md: both are seen)."""
    record = body.get(name, body) if isinstance(body, Mapping) else None
    if name == "message" and isinstance(record, str):
        record = body  # a bare message has a field of the wrapper's name
    if not isinstance(record, dict):
        raise MalformedAnswerError(f"the answer holds no object “{name}”", method="", path="")
    return record


def _api_message(response: httpx.Response) -> str | None:
    """The API's own words from `{"error": …}` or `{"message": …}`; never another body's text."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return None
    if not isinstance(body, Mapping):
        return None
    for name in ("error", "message", "errors"):
        words = body.get(name)
        if isinstance(words, Mapping):
            words = words.get("message")
        if isinstance(words, list):
            words = "; ".join(word for word in words if isinstance(word, str))
        if isinstance(words, str) and words:
            return words[:LONGEST_WORDS]
    return None


def _iso(at: datetime | None) -> str | None:
    """`2026-01-15T10:30:00Z`, cut to the second: the API's bounds are inclusive."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError("since needs a time zone: datetime(…, tzinfo=UTC)")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Settings: each is checked before anything is sent.


def check_api_key(value: str) -> str:
    """The key without surrounding white space; SettingError if there is none to speak of."""
    key = value.strip()
    if not key:
        raise SettingError(
            "ZIPCHAT_API_KEY is not set. Enable the Backend API under Settings > Integrations in"
            " Zipchat, and put the key that it shows once (zc-…) into .env or the environment."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingError(
            "ZIPCHAT_API_KEY holds a character that no key has. Copy it again: zc- and what follows."
        )
    return key


def check_chat_id(value: int | str) -> int:
    """The chat's number; SettingError if it is none."""
    text = str(value).strip()
    if not text:
        raise SettingError(
            "ZIPCHAT_CHAT_ID is not set. It is the number in the address of your chat in Zipchat."
        )
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise SettingError(
            f"ZIPCHAT_CHAT_ID: “{text}” is no chat id. It is a whole number, such as 1234."
        )
    return int(text)


def check_base_url(value: str) -> str:
    """The base URL without a trailing slash; SettingError if the key must not be sent there."""
    text = value.strip().rstrip("/")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingError(
            f"ZIPCHAT_BASE_URL: “{text}” is no address. Write one such as {BASE_URL}."
        )
    if url.scheme == "http" and not _is_loopback(url.host):
        raise SettingError(
            f"ZIPCHAT_BASE_URL: “{text}” would send the key unencrypted. Write https://; plain"
            " http is for this machine only."
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_reserve(value: float) -> float:
    """A fraction from 0 to 0.9; SettingError otherwise."""
    if not 0 <= value <= 0.9:  # noqa: PLR2004 - a tenth at least must remain to work with
        raise SettingError(f"ZIPCHAT_RESERVE: {value} is not between 0 and 0.9.")
    return value


def check_concurrency(value: int) -> int:
    """A number from 1 to MAX_IN_FLIGHT; SettingError otherwise."""
    if not 1 <= value <= MAX_IN_FLIGHT:
        raise SettingError(f"ZIPCHAT_CONCURRENCY: {value} is not between 1 and {MAX_IN_FLIGHT}.")
    return value
