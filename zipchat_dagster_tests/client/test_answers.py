"""Answers of every form, from any bytes to any JSON: a result, or one of the client's own errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zipchat_dagster.client import ZipchatClient, ZipchatError
from zipchat_dagster.client.answers import DEEPEST, Stated, decoded, stated
from zipchat_dagster_tests.client.support import KEY, NOW, Script, a_client
from zipchat_dagster_tests.conftest import effort

NAMES: Final = (
    *("id", "conversations", "conversation", "messages", "message", "users", "user"),
    *("lead", "assignee", "sender_id", "created_at", "last_message_at", "error", "errors"),
    *("meta", "message_pagination", "total_count", "total_pages", "current_page", "next_page"),
)
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.integers()
    | st.floats()  # with NaN and the infinities, as Python writes them
    | st.sampled_from(["2026-03-03T10:00:00Z", "7", KEY, "\n\x1b[31m"])
    | st.text(st.characters(), max_size=9)  # with lone surrogates
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
RECORDS: Final = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
# Up to more than a page, since full pages are followed by others.
ROWS: Final = st.builds(
    lambda rows, times: rows * times, st.lists(RECORDS, max_size=3), st.sampled_from([1, 1, 1, 120])
)
PAGES: Final = st.dictionaries(
    st.sampled_from(["current_page", "total_pages", "total", "next_page"]), SCALARS
)
USUAL: Final = st.fixed_dictionaries(
    {
        "conversations": ROWS,
        "users": ROWS,
        "user": RECORDS,
        "message": RECORDS,
        "conversation": st.builds(lambda record, rows: record | {"messages": rows}, RECORDS, ROWS),
    },
    optional={"meta": PAGES | VALUES, "error": VALUES},
)
BODIES: Final = (VALUES | USUAL).map(json.dumps).map(str.encode)
CALLS: Final[list[Callable[[ZipchatClient], Any]]] = [
    lambda client: list(client.iter_conversations(since=NOW - timedelta(days=1))),
    lambda client: list(client.iter_users()),
    lambda client: client.read_conversation(1),
    lambda client: client.get_user(1),
    lambda client: client.assign(1, 2),
    lambda client: client.send_message(1, message="Hello", sender_id=2),
]


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """JSON with a piece cut out of it or put into it."""
    body = draw(BODIES)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    return body[:start] + draw(st.binary(max_size=4) | st.just(body[start:end] * 2)) + body[end:]


@settings(max_examples=effort(40, 500), deadline=None)
@given(st.binary(max_size=40) | BODIES | garbled())
@example(b'"\xed\xa0\xbd"')
@example('{"a": [1]}'.encode("utf-16"))
@example(b'{"":' * 900 + b"[" * 900)
def test_any_bytes_are_strict_json_that_every_database_takes_or_are_refused(content: bytes) -> None:
    try:
        body = decoded(content)
    except (ValueError, RecursionError):
        return
    again = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    assert decoded(again) == body


def test_only_what_is_nested_too_deeply_becomes_its_text() -> None:
    deep = "[" * 600 + "]" * 600
    others = {"text": '[{"' * 600, "rows": [{}] * 600}
    found = decoded(f'{{"deep": {deep}, {json.dumps(others)[1:]}'.encode())
    levels = 1
    value = found.pop("deep")
    while isinstance(value, list):
        (value,) = value
        levels += 1
    assert levels == DEEPEST - 1
    assert value == deep[levels - 1 : 1 - levels]
    assert found == others


def test_metadata_about_something_else_hides_no_total() -> None:
    assert stated({"metadata": {"version": 2}, "meta": {"total": 3}}) == Stated(total=3)


@settings(max_examples=effort(40, 500), deadline=None)
@given(
    st.sampled_from(CALLS),
    st.lists(
        st.tuples(st.sampled_from([200] * 9 + [201, 204, 302, 404, 422, 500]), BODIES | garbled()),
        min_size=1,
        max_size=4,
    ),
)
def test_any_answer_gives_a_result_or_one_of_the_client_s_errors(
    call: Callable[[ZipchatClient], Any], answers: list[tuple[int, bytes]]
) -> None:
    script = Script(*(httpx.Response(status, content=body) for status, body in answers))
    words = ""
    with a_client(script) as client:
        try:
            result = call(client)
        except ZipchatError as error:
            words = str(error)
        else:
            json.dumps(result, default=repr, allow_nan=False).encode()
    assert words.isprintable()
    assert KEY not in words
