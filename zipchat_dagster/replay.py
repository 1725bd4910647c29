"""A Backend API that responds with records from an earlier sync, to rebuild tables without
requests.

`ReplayTransport` replaces the network below the client. It returns the stored payloads, including
unknown fields, with the API's own filters and pages, so they reach another database the usual way.

**A replay never pretends that more is stored than there is**, so a later sync from the real API
misses nothing:

- the server's clock is the moment up to which the stored list is complete;
- a list from before the stored list begins is refused (422), and so is a conversation with messages
  that are not stored;
- missing conversations stay missing: they are not listed, and return 404.

Only the latest payloads are stored. If a conversation's list and show payloads are from different
times, both show the newer values.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from threading import Lock
from typing import Any, Final

import duckdb
import httpx

from zipchat_dagster.client import SettingError
from zipchat_dagster.client.answers import Json
from zipchat_dagster.warehouse import Warehouse
from zipchat_dagster.warehouse.store import SETTLING
from zipchat_dagster.warehouse.tables import sql

_PATH: Final = re.compile(r"/chats/(\d+)/(conversations|users)(?:/(\d+))?$")
_ROWS_AT_ONCE: Final = 10_000  # in memory, while they are copied
_SCHEMA: Final = Path(__file__).with_suffix(".sql").read_text("utf-8")
_COUNT: Final = "select count(*) from conversations where active_at >= ?"
_LIST: Final = (
    "select listed from conversations where active_at >= ?"
    " order by active_at desc, conversation_id desc limit ? offset ?"
)
_SHOW: Final = (
    "select shown, created_at, active_at, covered_from, covered_through"
    " from conversations where conversation_id = ?"
)
_MESSAGES: Final = (
    "select payload from messages where conversation_id = ? and coalesce(created_at >= ?, true)"
    " order by created_at nulls last, message_id"
)
_HEADERS: Final = {
    "X-RateLimit-Limit": "1000000",
    "X-RateLimit-Remaining": "999999",
    "X-RateLimit-Reset": "60",
}


class ReplayTransport(httpx.BaseTransport):
    """Responds as the API would, from one chat's stored payloads. Thread-safe.

    The records are first copied into a temporary SQLite database, which answers many small queries
    faster than DuckDB. Syncs into the file can continue after that.

    Args:
        path: the DuckDB file of an earlier sync. It is only read.
        logger: logs how many records cannot be replayed.

    Raises:
        SettingError: there is no such file, or it does not have this package's tables.
        WarehouseError: it stays in use for too long.
    """

    def __init__(
        self, path: Path, *, chat_id: int, logger: logging.Logger | logging.LoggerAdapter[Any]
    ) -> None:
        if not path.exists():
            raise SettingError(
                f"ZIPCHAT_REPLAY_DATABASE: {path} does not exist. Give the path of the"
                " DuckDB file of an earlier sync."
            )
        self._chat_id = chat_id
        self._lock = Lock()
        # Without a name, SQLite deletes the file in any case, even if the process is killed.
        self._stored = sqlite3.connect("", check_same_thread=False)
        try:
            self._users, stock = self._copy(Warehouse(path))
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            self.close()
            raise SettingError(
                f"ZIPCHAT_REPLAY_DATABASE: {path} holds no tables of zipchat_dagster as they are"
                f" now ({str(error).splitlines()[0]}). Give the path of the DuckDB file of an"
                " earlier sync."
            ) from None
        self._complete_since, self._as_of, rejected, missing = stock
        if rejected or missing:
            logger.info(
                f"Left out of the replay: conversations that are missing: {missing:,}; records"
                f" without a usable id: {rejected:,}."
            )

    def close(self) -> None:
        """Delete the copy."""
        self._stored.close()

    def _copy(self, source: Warehouse) -> tuple[dict[int, Json], tuple[Any, ...]]:
        """Copy conversations and messages. Returns the users by id, and the row of replay_stock."""
        self._stored.executescript(_SCHEMA)
        with source.connection(read_only=True, purpose="replay") as connection:

            def rows(name: str) -> Iterator[tuple[Any, ...]]:
                found = connection.execute(sql(name), {"chat_id": self._chat_id})
                while some := found.fetchmany(_ROWS_AT_ONCE):
                    yield from some

            self._stored.executemany(
                "insert into conversations values (?, ?, ?, ?, ?, ?, ?)",
                ((*row[:5], *_payloads(*row[5:])) for row in rows("replay_conversations")),
            )
            self._stored.executemany(
                "insert into messages values (?, ?, ?, ?)", rows("replay_messages")
            )
            users = {user_id: json.loads(payload) for user_id, payload in rows("replay_users")}
            (stock,) = rows("replay_stock")
        return users, stock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The stored response, or 404 or 422 with the reason as the API's error."""
        with self._lock:
            try:
                status, body = 200, self._respond(request)
            except _RefusedError as error:
                status, body = error.status, {"error": str(error)}
        now = self._as_of or datetime.now(UTC)
        headers = {"Date": formatdate(math.floor(now.timestamp()), usegmt=True), **_HEADERS}
        return httpx.Response(status, headers=headers, json=body)

    def _respond(self, request: httpx.Request) -> Json:
        if request.method != "GET":
            raise _RefusedError(422, "This is a replay of stored data: nothing can be written.")
        match = _PATH.search(request.url.path)
        if match is None:
            raise _RefusedError(404, "Not found")
        chat_id, kind, record_id = match.groups()
        if int(chat_id) != self._chat_id or self._as_of is None:
            raise _RefusedError(404, "Nothing of this chat is stored")
        parameters = request.url.params
        if kind == "conversations":
            if record_id is None:
                return self._list(parameters)
            return self._show(int(record_id), parameters)
        if record_id is None:
            part, meta = _page(parameters, len(self._users), largest=100)
            return {"users": list(self._users.values())[part], "meta": meta}
        if int(record_id) not in self._users:
            raise _RefusedError(404, "User not found")
        return {"user": self._users[int(record_id)]}

    def _list(self, parameters: httpx.QueryParams) -> Json:
        since = _time(parameters.get("last_message_at_since"))
        if self._complete_since is None:
            raise _RefusedError(
                422, "No listing of conversations was ever completed in this database"
            )
        if since is None or since < self._complete_since:
            raise _RefusedError(
                422,
                "The stored conversations are complete only from"
                f" {self._complete_since:%Y-%m-%d %H:%M:%S} UTC on: materialize later days",
            )
        begin = since.timestamp()
        ((total,),) = self._stored.execute(_COUNT, (begin,))
        part, meta = _page(parameters, total, largest=100)
        rows = self._stored.execute(_LIST, (begin, part.stop - part.start, part.start))
        return {"conversations": [json.loads(listed) for (listed,) in rows], "meta": meta}

    def _show(self, conversation_id: int, parameters: httpx.QueryParams) -> Json:
        since = _time(parameters.get("message_created_at_since"))
        begin = None if since is None else since.timestamp()
        found = self._stored.execute(_SHOW, (conversation_id,)).fetchone()
        if found is None:
            raise _RefusedError(404, "Conversation not found")
        shown, created_at, active_at, covered_from, covered_through = found
        assert self._as_of is not None
        first = created_at if begin is None else max(begin, created_at)
        last = min(active_at, (self._as_of - SETTLING).timestamp())
        is_covered = (
            covered_through is not None and covered_from <= first <= last <= covered_through
        )
        if first <= last and not is_covered:
            raise _RefusedError(
                422,
                "Not all messages of this conversation are stored in the database that is"
                " replayed: sync the days of its messages there first",
            )
        messages = self._stored.execute(_MESSAGES, (conversation_id, begin)).fetchall()
        part, meta = _page(parameters, len(messages), largest=200, prefix="message_")
        rows = [json.loads(payload) for (payload,) in messages[part]]
        return {"conversation": {**json.loads(shown), "messages": rows}, "meta": meta}


class _RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _page(
    parameters: httpx.QueryParams, total: int, *, largest: int, prefix: str = ""
) -> tuple[slice, Json]:
    """The rows of the page, and the pagination metadata of the API."""
    number = int(parameters.get(f"{prefix}page", 1))
    size = min(int(parameters.get(f"{prefix}per_page", largest // 2)), largest)
    meta = {
        "current_page": number,
        "per_page": size,
        "total_pages": math.ceil(total / size),
        "total_count": total,
    }
    return slice((number - 1) * size, number * size), meta


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _payloads(
    listed_text: str | None, shown_text: str | None, is_shown_last: bool
) -> tuple[str, str]:
    """A conversation as the list endpoint and the show endpoint return it."""
    listed = json.loads(listed_text or shown_text or "{}")
    shown = json.loads(shown_text or listed_text or "{}")
    if is_shown_last:
        listed = _refreshed(listed, shown)
    else:
        shown = _refreshed(shown, listed)
    return json.dumps(listed), json.dumps(shown)


def _refreshed(record: Json, newer: Mapping[str, Any]) -> Json:
    """The record with its own fields, but the values of a newer one."""
    return {
        name: _refreshed(value, newer[name])
        if isinstance(value, dict) and isinstance(newer.get(name), dict)
        else newer.get(name, value)
        for name, value in record.items()
    }
