"""Reading the API's answers. What docs/api.md leaves open is accepted in every form here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from zipchat_dagster.client.errors import MalformedAnswerError

Json = dict[str, Any]

LONGEST_WORDS: Final = 300  # characters of the API's own error message that are passed on
LONGEST_NUMBER: Final = 1_000  # digits; Python refuses whole numbers of some thousand
DEEPEST: Final = 500  # levels of nesting; Python refuses some thousand, less in deep calls
NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)
DIGITS: Final = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True)
class Stated:
    """What an answer says about its list, under whichever name; None where it says nothing.

    Where there is a total, the rest only follows from it, and is as wrong as it may be.
    """

    total: int | None = None
    is_last: bool | None = None


def decoded(content: bytes) -> Any:
    """Strict JSON, without NaN. What no database takes changes: half of a surrogate pair becomes
    U+FFFD, and a number beyond all measure, or a value nested too deeply, becomes its text.

    Raises:
        ValueError, RecursionError: it is something else.
    """
    if _is_deep(content):
        content = _flattened(content.decode("utf-8", "surrogatepass"))
    body = json.loads(content, parse_constant=_refuse_constant, parse_float=_float, parse_int=_int)
    if b"\\ud" in content.lower() or b"\xed" in content:
        body = json.loads(without_surrogates(json.dumps(body, ensure_ascii=False)))
    return body


def without_surrogates(text: str) -> str:
    """The text with each half of a surrogate pair replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def rows_of(body: Any, name: str, *, path: str) -> list[Json]:
    """The records of a list, which may be wrapped in an object, with their ids as numbers."""
    rows = body.get(name) if isinstance(body, Mapping) else body
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return [_with_ids(row) for row in rows]
    raise MalformedAnswerError(
        f"the answer contains no list “{name}” of objects", method="GET", path=path
    )


def record_of(body: Any, name: str, *, method: str, path: str) -> Json:
    """A single record, which may be wrapped in an object, with its ids as numbers."""
    record = body.get(name, body) if isinstance(body, Mapping) else None
    if name == "message" and isinstance(record, str):
        record = body  # not wrapped: a message has a field called “message”
    if not isinstance(record, dict):
        raise MalformedAnswerError(
            f"the answer contains no object “{name}”", method=method, path=path
        )
    return _with_ids(record)


def identity(record: Json) -> int | str:
    """What tells a record from others: its id, or all of its content if that is not a usable id."""
    value = record.get("id")
    return value if type(value) is int and _is_64_bit(value) else repr(record)


def stated(*places: Any) -> Stated:
    """The pagination metadata in the first of `places` that has any."""
    for place in places:
        for name, found in place.items() if isinstance(place, Mapping) else ():
            if isinstance(found, Mapping) and ("meta" in name or "pagination" in name):
                total = _count(found, "total_count", "total")
                pages, page = _count(found, "total_pages"), _count(found, "current_page", "page")
                is_last = None
                if total is None and "next_page" in found:
                    is_last = found["next_page"] is None
                elif total is None and pages is not None and page is not None:
                    is_last = page >= pages
                statement = Stated(total, is_last)
                if statement != Stated():  # else it is metadata about something else
                    return statement
    return Stated()


def api_message(response: httpx.Response) -> str | None:
    """The API's own words from `{"error": …}` or `{"message": …}`; other bodies are not quoted."""
    try:
        body = decoded(response.content)
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


def time_of(value: Any) -> datetime | None:
    """One of the API's times in UTC; None for anything else."""
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def iso(at: datetime | None) -> str | None:
    """`2026-01-15T10:30:00Z`, cut to the second: the API's bounds are inclusive.

    Raises:
        ValueError: the time has no time zone.
    """
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError("since needs a time zone: datetime(…, tzinfo=UTC)")
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _with_ids(record: Json) -> Json:
    """The record, in which ids written as strings of digits are now numbers."""
    for holder in (record, record.get("assignee"), record.get("lead")):
        for name in ("id", "sender_id"):
            if isinstance(holder, dict) and isinstance(text := holder.get(name), str):
                is_number = DIGITS.fullmatch(text) and _is_64_bit(int(text))
                holder[name] = int(text) if is_number else text
    return record


def _is_deep(content: bytes) -> bool:
    """Whether JSON may be nested deeper than DEEPEST. Brackets in texts count too."""
    brackets = content.translate(None, NOT_BRACKETS)
    for _ in range(DEEPEST):
        if len(brackets) <= DEEPEST:
            return False
        outer = brackets.replace(b"[]", b"").replace(b"{}", b"")  # without the innermost level
        if outer == brackets:
            break
        brackets = outer
    return True


def _flattened(text: str) -> bytes:
    """The JSON with each value below DEEPEST levels as its text."""
    pieces, depth, end = [], 0, 0
    for found in STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == DEEPEST:
                pieces.append(text[end : found.start()])
                end = found.start()
        elif found[0] in "]}":
            if depth == DEEPEST:
                pieces.append(json.dumps(text[end : found.end()]))
                end = found.end()
            depth -= 1
    return "".join([*pieces, text[end:]]).encode("utf-8", "surrogatepass")


def _is_64_bit(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _count(found: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_NUMBER else text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
