"""The Backend API answered from what is stored, so that tables can be made anew without a request.

A `ReplayTransport` takes the network's place below the client, which notices nothing: it gets the
stored payloads, with the fields that nobody knows, by the API's own filters and pages, and goes the
same way with them into another database: with another time zone, newer code, a changed schema.

**A replay never claims more than is stored**, so that whoever goes on with the real API afterwards
loses nothing:

- the server's clock stands at the moment up to which the stored list is complete;
- a list from before the day from which it is complete is refused (422), and so is a conversation
  whose messages are not all there; the answer says which, and the run names it;
- conversations that were missing are so still: in no list, and 404.

Payloads are what came last, so earlier states of a conversation are not among them. Where its list
and its show payload are of different times, the newer one's values stand in both.
"""

from __future__ import annotations

import json
import logging
import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from threading import RLock
from typing import Any, Final, TypeVar

import duckdb
import httpx

from zipchat_dagster.client import SettingError
from zipchat_dagster.sandbox.api import Refusal, Request, count_parameter, route, time_parameter
from zipchat_dagster.warehouse import Transaction, Warehouse
from zipchat_dagster.warehouse.store import SETTLING, ids

T = TypeVar("T")

Json = dict[str, Any]

BLOCK: Final = 200  # conversations that are read together, as they were created
MOST_BLOCKS: Final = 8  # kept in memory
NO_LIMIT: Final = 1_000_000  # requests


@dataclass(frozen=True)
class _Entry:
    """One conversation of the index; times in Unix seconds."""

    block: int
    conversation_id: int
    created_at: float
    active_at: float
    covered_from: float | None
    covered_through: float | None


@dataclass(frozen=True)
class _Stored:
    """One conversation as it is stored: both payloads, and (created_at or None, message)."""

    listed: Json
    shown: Json
    messages: list[tuple[float | None, Json]]


class ReplayTransport(httpx.BaseTransport):
    """Answers what the API would, from one chat's stored payloads. Thread-safe.

    The file is opened for short moments only, so that syncs into it go on; what they bring after
    this object was made is not replayed.

    Args:
        path: the DuckDB file of an earlier sync. It is only read.
        logger: where it is told what cannot be replayed.

    Raises:
        SettingError: there is no such file, or no tables of this package in it.
        WarehouseError: it stays in use for too long.
    """

    def __init__(
        self, path: Path, *, chat_id: int, logger: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        if not path.exists():
            raise SettingError(
                f"ZIPCHAT_REPLAY_DATABASE: {path} does not exist. Write the DuckDB file of an"
                " earlier sync."
            )
        self._source = Warehouse(path)
        self._chat_id = chat_id
        self._lock = RLock()
        self._blocks: OrderedDict[int, dict[int, _Stored]] = OrderedDict()
        try:
            ((self._complete_since, self._as_of, rejected, missing),) = self._query("replay_stock")
            index = self._query("replay_index")
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise SettingError(
                f"ZIPCHAT_REPLAY_DATABASE: {path} holds no tables of zipchat_dagster as they are"
                f" now ({str(error).splitlines()[0]}). Write the DuckDB file of an earlier sync."
            ) from None
        entries = [_Entry(place // BLOCK, *row) for place, row in enumerate(index)]
        self._entries = {entry.conversation_id: entry for entry in entries}
        self._by_block = [entries[n : n + BLOCK] for n in range(0, len(entries), BLOCK)]
        self._by_activity = sorted(entries, key=lambda e: (e.active_at, e.conversation_id))
        if rejected or missing:
            logger.info(
                f"Left out of the replay: {missing:,} conversations that are missing, and"
                f" {rejected:,} records without a usable id."
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The stored answer; 404 and 422 with the reason as the API's words."""
        asked = route(Request(request.method, request.url.path, dict(request.url.params), {}, b""))
        try:
            status, body = 200, self._respond(asked)
        except Refusal as refusal:
            status, body = refusal.status, {"error": refusal.text}
        now = self._as_of or datetime.now(UTC)
        headers = {
            "Date": formatdate(math.floor(now.timestamp()), usegmt=True),
            "X-RateLimit-Limit": str(NO_LIMIT),
            "X-RateLimit-Remaining": str(NO_LIMIT - 1),
            "X-RateLimit-Reset": "60",
        }
        return httpx.Response(status, headers=headers, json=body)

    def _respond(self, request: Request) -> Json:
        if request.method != "GET":
            raise Refusal(422, "This is a replay of stored data: nothing can be written.")
        if request.endpoint is None:
            raise Refusal(404, "Not found")
        if request.chat_id != str(self._chat_id) or self._as_of is None:
            raise Refusal(404, "Nothing of this chat is stored")
        if request.endpoint == "list":
            return self._list(request)
        if request.endpoint == "show":
            return self._show(request)
        users = {user_id: json.loads(payload) for user_id, payload in self._query("replay_users")}
        if request.endpoint == "users":
            rows, pages = _page(list(users.values()), request, "page", "per_page", largest=100)
            return {"users": rows, "meta": pages}
        if request.id not in users:
            raise Refusal(404, "User not found")
        return {"user": users[request.id]}

    def _list(self, request: Request) -> Json:
        since = time_parameter(request, "last_message_at_since")
        if self._complete_since is None:
            raise Refusal(422, "No listing of conversations was ever completed in this database")
        if since is None or since < self._complete_since:
            raise Refusal(
                422,
                "The stored conversations are complete only from"
                f" {self._complete_since:%Y-%m-%d %H:%M:%S} UTC on: materialize later days",
            )
        first = bisect_left(self._by_activity, since.timestamp(), key=lambda e: e.active_at)
        entries, pages = _page(
            self._by_activity[first:][::-1], request, "page", "per_page", largest=100
        )
        stored = self._conversations(entries)
        return {
            "conversations": [stored[entry.conversation_id][0] for entry in entries],
            "meta": pages,
        }

    def _show(self, request: Request) -> Json:
        entry = self._entries.get(request.id or 0)
        if entry is None:
            raise Refusal(404, "Conversation not found")
        since = time_parameter(request, "message_created_at_since")
        begin = -math.inf if since is None else since.timestamp()
        self._check_messages(entry, begin)
        with self._lock:
            stored = self._block(entry.block)[entry.conversation_id]
        found = [message for at, message in stored.messages if at is None or at >= begin]
        rows, pages = _page(found, request, "message_page", "message_per_page", largest=200)
        return {"conversation": {**stored.shown, "messages": rows}, "meta": pages}

    def _check_messages(self, entry: _Entry, begin: float) -> None:
        """What the client will take as complete has to be so."""
        assert self._as_of is not None
        begin = max(begin, entry.created_at)
        end = min(entry.active_at, (self._as_of - SETTLING).timestamp())
        is_held = (
            entry.covered_from is not None
            and entry.covered_through is not None
            and entry.covered_from <= begin
            and entry.covered_through >= end
        )
        if begin <= end and not is_held:
            raise Refusal(
                422,
                "Not all messages of this conversation are stored in the database that is"
                " replayed: sync the days of its messages there first",
            )

    # What is stored

    def _block(self, number: int) -> dict[int, _Stored]:
        """The conversations of a block by id, from memory where they were asked for lately."""
        if number not in self._blocks:
            entries = self._by_block[number]
            messages: dict[int, list[tuple[float | None, Json]]] = {}
            for conversation_id, at, payload in self._query("replay_messages", entries):
                messages.setdefault(conversation_id, []).append((at, json.loads(payload)))
            self._blocks[number] = {
                conversation_id: _Stored(listed, shown, messages.get(conversation_id, []))
                for conversation_id, (listed, shown) in self._conversations(entries).items()
            }
            while len(self._blocks) > MOST_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _conversations(self, entries: Sequence[_Entry]) -> dict[int, tuple[Json, Json]]:
        """(as listed, as shown) by id."""
        found = {}
        for conversation_id, listed_text, shown_text, is_shown_last in self._query(
            "replay_conversations", entries
        ):
            listed = json.loads(listed_text or shown_text)
            shown = json.loads(shown_text or listed_text)
            if is_shown_last:
                listed = _refreshed(listed, shown)
            else:
                shown = _refreshed(shown, listed)
            found[conversation_id] = (listed, shown)
        return found

    def _query(self, name: str, entries: Sequence[_Entry] = ()) -> list[tuple[Any, ...]]:
        frames = {"wanted": ids(entry.conversation_id for entry in entries)}
        with (
            self._lock,
            self._source.connection(read_only=True, purpose="replay") as connection,
        ):
            return Transaction(connection).execute(name, frames, chat_id=self._chat_id)


def _page(
    rows: Sequence[T], request: Request, page_name: str, per_page_name: str, *, largest: int
) -> tuple[list[T], Json]:
    """The rows of the page asked for, and what the API says about the others."""
    number = count_parameter(request, page_name, 1)
    size = min(count_parameter(request, per_page_name, largest // 2), largest)
    pages = {
        "current_page": number,
        "per_page": size,
        "total_pages": math.ceil(len(rows) / size),
        "total_count": len(rows),
    }
    return list(rows[(number - 1) * size : number * size]), pages


def _refreshed(record: Json, newer: Mapping[str, Any]) -> Json:
    """The record with its own fields, at the values that a newer one has for them."""
    return {
        name: _refreshed(value, newer[name])
        if isinstance(value, dict) and isinstance(newer.get(name), dict)
        else newer.get(name, value)
        for name, value in record.items()
    }
