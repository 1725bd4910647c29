"""`ZipchatClient`: one method for each endpoint of the Zipchat Backend API."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx

from zipchat_dagster.client.answers import (
    Json,
    Stated,
    identity,
    iso,
    record_of,
    rows_of,
    stated,
    without_surrogates,
)
from zipchat_dagster.client.budget import Budget, Clock
from zipchat_dagster.client.call import Caller
from zipchat_dagster.client.errors import ChatNotFoundError, NotFoundError
from zipchat_dagster.client.gather import Gathering
from zipchat_dagster.client.listing import Habits, Listing, Page
from zipchat_dagster.client.network import Network
from zipchat_dagster.client.options import (
    BASE_URL,
    CONCURRENCY,
    MAX_IN_FLIGHT,
    check_api_key,
    check_base_url,
    check_budget,
    check_chat_id,
    check_concurrency,
    check_reserve,
    checked,
)
from zipchat_dagster.client.window import DOCUMENTED_LENGTH

T = TypeVar("T")
R = TypeVar("R")

LARGEST_PAGE: Final = 100  # documented maximum of per_page
LARGEST_MESSAGE_PAGE: Final = 200  # documented maximum of message_per_page
SLOW: Final = 0.5  # seconds; longer answers call for more of them in flight


@dataclass(frozen=True)
class ConversationRead:
    """One conversation with its messages, from one or more answers.

    Attributes:
        conversation: the record without its messages.
        messages: the records, each once, in the API's order.
        observed_at: the server's time of the first answer: what was there then is in here.
        stated_messages: how many messages match according to the API, None if it does not say.
    """

    conversation: Json
    messages: list[Json]
    observed_at: datetime
    stated_messages: int | None


class ZipchatClient:
    """The Zipchat Backend API of one chat. Thread-safe; a context manager.

    Reads are retried when that may help (time-outs, broken connections, 5xx, bodies that are not
    the documented JSON), writes only if they certainly never arrived. Every call waits for room in
    the rate limit (`budget.py`). Ids are numbers in all records, even if the API writes them as
    strings of digits.

    Args:
        api_key: the key, `zc-…`. It appears in no message, log or `repr`.
        chat_id: the chat's number.
        base_url: where the API is. Plain http is accepted for loopback only.
        budget: through what programs share the rate limit: the path of a SQLite file, for those
            on this machine, or an address such as postgresql://user@host:5432/database. The
            password is read from PGPASSWORD or ~/.pgpass. None keeps the limit to this client.
        reserve: the fraction (0 to 0.9) of each window that is left to others.
        concurrency: how many reads `gather` keeps in flight; more if answers take so long that
            the rate limit could not be used up otherwise.
        timeout: seconds to connect, to send, and to receive the next piece of an answer. The whole
            of it may take three times as long.
        transport: what to send through instead of the network.
        clock: time and sleep, for tests.
        logger: where waits and retries are logged.

    Raises:
        SettingError: a setting is missing or malformed.
    """

    def __init__(
        self,
        *,
        api_key: str,
        chat_id: int | str,
        base_url: str = BASE_URL,
        budget: Path | str | None = None,
        reserve: float = 0.0,
        concurrency: int = CONCURRENCY,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.chat_id = checked("chat_id", check_chat_id, chat_id)
        self._chat = f"/chats/{self.chat_id}"
        self.clock = clock or Clock()
        self._logger = logger or logging.getLogger("zipchat_dagster")
        self._concurrency = checked("concurrency", check_concurrency, concurrency)
        key = checked("api_key", check_api_key, api_key)
        url = checked("base_url", check_base_url, base_url)
        self._habits = {name: Habits() for name in ("conversations", "messages", "users")}
        self._budget = Budget(
            key,
            database=checked("budget", check_budget, budget),
            reserve=checked("reserve", check_reserve, reserve),
            clock=self.clock,
            logger=self._logger,
        )
        self._caller = Caller(
            api_key=key,
            base_url=url,
            network=transport or Network(url),
            budget=self._budget,
            timeout=timeout,
            logger=self._logger,
        )

    def __repr__(self) -> str:
        return f"ZipchatClient(chat_id={self.chat_id})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, also the budget's; calls that still wait raise RuntimeError."""
        self._caller.close()

    @property
    def has_answered(self) -> bool:
        """Whether any call has succeeded."""
        return self._caller.has_answered

    @property
    def requests(self) -> int:
        """Requests sent by this client."""
        return self._budget.requests

    @property
    def refused(self) -> int:
        """How many of them were answered 429."""
        return self._budget.refused

    @property
    def waited_seconds(self) -> float:
        """Seconds in which this client waited for the rate limit."""
        return self._budget.waited_seconds

    @property
    def rate_limit(self) -> tuple[int, float]:
        """(requests, seconds): how many the API allows in how long a window, according to its
        answers; before the first one, according to the documentation. The window is never taken as
        shorter than documented: seen from its middle, it looks so."""
        window = self._budget.window()
        return window.limit, max(window.length, DOCUMENTED_LENGTH)

    def server_time(self) -> datetime:
        """Now by the server's clock, as far as its answers have shown it (UTC)."""
        return datetime.fromtimestamp(self._budget.server_time(), UTC)

    # Reads

    def iter_conversations(self, *, since: datetime | None = None) -> Iterator[Json]:
        """Conversations with activity at or after `since` (aware; None: all), each at least once.

        They come in the API's order. One that changes during the listing may come again, newer.

        Raises:
            ListingUnsettledError: at the end, if the list changed too fast to be sure of it.
        """
        for rows, _ in self.list_conversations(since=since):
            yield from rows

    def list_conversations(self, *, since: datetime | None = None) -> Listing:
        """Like `iter_conversations`, by pages and with proof of completeness: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            return self._page("conversations", number, size, last_message_at_since=iso(since))

        return Listing(
            fetch,
            since=since,
            page_size=LARGEST_PAGE,
            habits=self._habits["conversations"],
            logger=self._logger,
        )

    def get_conversations_page(self, number: int = 1, *, since: datetime | None = None) -> Page:
        """One page of up to `LARGEST_PAGE` conversations active at or after `since` (aware; None:
        all), as the API gives it: for a quick look, since pages of a changing list prove nothing.

        Args:
            number: counted from 1.
        """
        return self._page("conversations", number, LARGEST_PAGE, last_message_at_since=iso(since))

    def get_conversation(self, conversation_id: int, *, since: datetime | None = None) -> Json:
        """One conversation with all its messages (those created at or after `since`, aware).

        Returns:
            the record as the show endpoint gives it; `messages` has those of all message pages.

        Raises:
            NotFoundError: this chat has no such conversation.
            ListingUnsettledError: the messages changed faster than they could be read.
        """
        read = self.read_conversation(conversation_id, since=since)
        return {**read.conversation, "messages": read.messages}

    def read_conversation(
        self, conversation_id: int, *, since: datetime | None = None
    ) -> ConversationRead:
        """Like `get_conversation`, with the server's time and the count that the API states."""
        path = f"{self._chat}/conversations/{int(conversation_id)}"
        first: list[tuple[Json, datetime]] = []

        def read(body: Any) -> tuple[Json, list[Json], Stated]:
            shown = record_of(body, "conversation", method="GET", path=path)
            return shown, rows_of(shown, "messages", path=path), stated(body, shown)

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            query = {
                "message_page": number,
                "message_per_page": size,
                "message_created_at_since": iso(since),
            }
            (shown, rows, state), observed_at = self._call("GET", path, read, query=query)
            if not first:
                first.append(
                    ({name: shown[name] for name in shown if name != "messages"}, observed_at)
                )
            return Page(rows, observed_at, state.total, state.is_last)

        listing = Listing(
            fetch,
            what=f"messages of conversation {conversation_id}",
            since=since,
            page_size=LARGEST_MESSAGE_PAGE,
            activity_field="created_at",
            catches_up=False,
            habits=self._habits["messages"],
            logger=self._logger,
        )
        messages: dict[int | str, Json] = {}
        for rows, _ in listing:
            messages.update((identity(row), row) for row in rows)
        conversation, observed_at = first[0]
        return ConversationRead(conversation, list(messages.values()), observed_at, listing.total)

    def iter_users(self) -> Iterator[Json]:
        """The users who can be assigned to this chat's conversations, each once."""
        seen: set[int | str] = set()
        for rows, _ in self.list_users():
            for row in rows:
                if identity(row) not in seen:
                    seen.add(identity(row))
                    yield row

    def list_users(self) -> Listing:
        """Like `iter_users`, by pages: see `Listing`."""

        def fetch(number: int, size: int, since: datetime | None) -> Page:
            return self._page("users", number, size)

        return Listing(
            fetch,
            what="users",
            page_size=LARGEST_PAGE,
            activity_field=None,
            catches_up=False,
            habits=self._habits["users"],
            logger=self._logger,
        )

    def get_user(self, user_id: int) -> Json:
        """One user of this chat.

        Raises:
            NotFoundError: the user cannot be assigned to this chat's conversations.
        """
        path = f"{self._chat}/users/{int(user_id)}"
        return self._record("GET", path, "user")

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

        It is never sent twice. After an unclear failure (`UnreachableError` with `was_sent`, a 5xx,
        a `MalformedAnswerError`) the customer may have it or not: read the conversation to see.

        Raises:
            NotFoundError: this chat has no such conversation.
            UnprocessableError: AI mode, an unknown sender, no message, or the 24-hour rule.
        """
        path = f"{self._chat}/conversations/{int(conversation_id)}/messages"
        json_body = {"message": without_surrogates(message), "sender_id": int(sender_id)}
        return self._record("POST", path, "message", json_body=json_body)

    # Many at once

    def gather(
        self, function: Callable[[T], R], items: Iterable[T]
    ) -> Iterator[list[tuple[T, R | Exception]]]:
        """Call `function` for each item with several calls in flight.

        Yields lists of (item, result or the exception it raised) in batches worth storing, in the
        order of completion; calls go on meanwhile (see `gather.py`). Abandoning the iteration
        makes the client unusable, and does not wait for the calls under way.
        """
        gathering = Gathering(
            function,
            items,
            in_flight=self._in_flight,
            size=_size,
            time=self.clock.time,
        )
        is_done = False
        try:
            yield from gathering
            is_done = True
        finally:
            if not is_done:
                self._budget.cancel()

    def _in_flight(self) -> int:
        """As many as it takes to spend a window's budget in half the window (Little's law).

        Only if answers are slow: what is in flight is lost when the process is killed.
        """
        latency = self._budget.latency
        if latency <= SLOW:
            return self._concurrency
        window = self._budget.window()
        needed = math.ceil(2 * window.limit * latency / window.length)
        return max(self._concurrency, min(needed, window.limit, MAX_IN_FLIGHT))

    def _page(self, name: str, number: int, size: int, **query: str | None) -> Page:
        """One page of a list of this chat. Where there is none at all, there is no such chat."""
        path = f"{self._chat}/{name}"
        try:
            (rows, state), observed_at = self._caller.call(
                "GET",
                path,
                lambda body: (rows_of(body, name, path=path), stated(body)),
                query={"page": number, "per_page": size, **query},
            )
        except NotFoundError as error:
            raise ChatNotFoundError(
                error.status,
                error.api_message,
                method=error.method,
                path=error.path,
                hint=f"Check the chat id ({self.chat_id}) and the base URL.",
            ) from None
        return Page(rows, observed_at, state.total, state.is_last)

    def _assign(self, conversation_id: int, assignee_id: int | None) -> Json:
        path = f"{self._chat}/conversations/{int(conversation_id)}/assignment"
        return self._record("PATCH", path, "conversation", json_body={"assignee_id": assignee_id})

    def _record(self, method: str, path: str, name: str, **content: Any) -> Json:
        """The single record that a call answers with."""
        record, _ = self._call(
            method, path, lambda body: record_of(body, name, method=method, path=path), **content
        )
        return record

    def _call(
        self, method: str, path: str, read: Callable[[Any], T], **content: Any
    ) -> tuple[T, datetime]:
        """A call about one conversation or user. A 404 may be about it or about the whole chat,
        which only a list can tell; so one is requested unless a call has succeeded before.

        Raises:
            ChatNotFoundError: no such chat for this key.
        """
        try:
            return self._caller.call(method, path, read, **content)
        except NotFoundError:
            if not self.has_answered:
                self._page("users", 1, 1)
            raise


def _size(result: object) -> int:
    """How much a result adds to a batch: its records."""
    return 1 + len(result.messages) if isinstance(result, ConversationRead) else 1
