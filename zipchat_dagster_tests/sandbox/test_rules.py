"""Random requests, compared with a second implementation of the rules in docs/api.md."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.sandbox import BASE_PATH, DEFAULT_KEY, Chat, Sandbox, User, generate
from zipchat_dagster_tests.conftest import Clock, effort
from zipchat_dagster_tests.sandbox.support import AI_MODE, META_CHANNELS, NOW, TOO_LATE

LIMIT: Final = 120  # requests in a window
WINDOW: Final = 60  # seconds
MALFORMED: Final = "malformed"  # a 422 whose text is not documented
STRANGER: Final = "is not an assignable user for this chat"


class Call(NamedTuple):
    """A request. `which` is the index of a conversation or user; there may be fewer."""

    kind: str
    which: int
    query: dict[str, str]
    body: dict[str, Any]
    key: str
    seconds: float  # that pass before it


def a_chat() -> Chat:
    """More than a page of conversations, users 1 to 6 among others, every third in manual mode."""
    chat = generate(seed=1, conversations=130, days=20, now=NOW, max_messages=4)
    chat.users |= {number: User(number, "A", "B", "a@example.com") for number in range(1, 7)}
    for number in list(chat.conversations)[::3]:
        chat.assign(number, 1, at=NOW)
    for second in range(250):
        chat.add_message(number, at=NOW + timedelta(seconds=second // 2))
    return chat


STAMPS: Final = sorted(
    {f"{c.last_message_at:%Y-%m-%dT%H:%M:%SZ}" for c in a_chat().conversations.values()}
    | {f"{NOW + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}" for second in range(9)}
)
TIMES: Final = st.sampled_from(STAMPS) | st.sampled_from(["yesterday", "2026-02-30"])
NUMBERS: Final = st.sampled_from(
    ["1", "2", "99", "100", "101", "200", "201", "7"]
) | st.sampled_from(["", "0", "-1", "x", "1.5", "٣"])
PEOPLE: Final = st.sampled_from([None, True, "1", 999_999]) | st.integers(1, 6)
CALLS: Final = st.builds(
    Call,
    st.sampled_from(["conversations", "users", "messages", "user", "assign", "send", "send"]),
    st.integers(0, 15).map(lambda third: 3 * third) | st.sampled_from([1, 2, 5, 129, 129, 999]),
    st.fixed_dictionaries({"per_page": NUMBERS}, optional={"page": NUMBERS})
    | st.fixed_dictionaries({"since": TIMES}, optional={"page": NUMBERS}),
    st.fixed_dictionaries(
        {},
        optional={
            "assignee_id": PEOPLE,
            "sender_id": st.just(1) | PEOPLE,
            "message": st.just("Hello") | st.sampled_from(["Hello", "", " ", None, 7]),
        },
    ),
    st.sampled_from([DEFAULT_KEY] * 9 + ["zc-other", ""]),
    st.floats(0, 20),
)


def answer_by_the_rules(  # noqa: PLR0911 - one rule after the other
    chat: Chat, call: Call, now: datetime
) -> tuple[int, Any]:
    """The status, with the ids of a list or the text of an error. Writes to no chat."""
    if call.key != DEFAULT_KEY:
        return 401, None
    if call.kind == "users":
        return page_of([*chat.users], call, usual=50, most=100)
    if call.kind == "user":
        user_ids = [*chat.users][call.which :][:1]
        return (200, user_ids) if user_ids else (404, None)
    if call.kind == "conversations":
        rows = sorted(chat.conversations.values(), key=lambda c: (c.last_message_at, c.id))
        since = [(c.id, c.last_message_at) for c in reversed(rows)]
        return page_of(since, call, usual=50, most=100)
    conversation = chat.conversations.get(conversation_id(chat, call))
    if conversation is None:
        return 404, "Conversation not found"
    if call.kind == "messages":
        sent = [(m.id, m.created_at) for m in conversation.messages]
        return page_of(sent, call, usual=100, most=200)
    name = "assignee_id" if call.kind == "assign" else "sender_id"
    person = call.body.get(name)
    is_user = type(person) is int and person in chat.users
    if call.kind == "assign":
        if name not in call.body:
            return 422, "assignee_id is required (use null to assign to AI)"
        return (200, None) if is_user or person is None else (422, f"{name} {STRANGER}")
    text = call.body.get("message")
    is_late = conversation.channel in META_CHANNELS and not any(
        m.role == "user" and now - m.created_at <= timedelta(hours=24)
        for m in conversation.messages
    )
    for is_so, why in (
        (not isinstance(text, str) or not text.strip(), "message is required"),
        (person is None, "sender_id is required"),
        (not is_user, f"{name} {STRANGER}"),
        (not conversation.manual_reply_mode, AI_MODE),
        (is_late, TOO_LATE),
    ):
        if is_so:
            return 422, why
    return 201, None


def page_of(rows: list[Any], call: Call, *, usual: int, most: int) -> tuple[int, Any]:
    """Out of ids, or of ids with times that `since` looks at."""
    page, size = call.query.get("page", "1"), call.query.get("per_page", str(usual))
    for text in (page, size):
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            return 422, MALFORMED
    if rows and isinstance(rows[0], tuple):
        try:
            since = datetime.fromisoformat(call.query.get("since", "2000-01-01T00:00:00Z"))
        except ValueError:
            return 422, MALFORMED
        rows = [row_id for row_id, at in rows if at >= since]
    count = min(int(size), most)
    return 200, rows[(int(page) - 1) * count :][:count]


def conversation_id(chat: Chat, call: Call) -> int:
    return dict(enumerate(chat.conversations)).get(call.which, 0)


def sent(sandbox: Sandbox, call: Call) -> tuple[int, Any, dict[str, str]]:
    """What the sandbox answers, in the same form, and its headers."""
    chat = sandbox.chat
    since = "message_created_at_since" if call.kind == "messages" else "last_message_at_since"
    names = {"since": since} | (
        {"page": "message_page", "per_page": "message_per_page"} if call.kind == "messages" else {}
    )
    query = urlencode({names.get(name, name): text for name, text in call.query.items()})
    of_conversation = f"/conversations/{conversation_id(chat, call)}"
    method, path = {
        "conversations": ("GET", "/conversations"),
        "users": ("GET", "/users"),
        "messages": ("GET", of_conversation),
        "user": ("GET", f"/users/{dict(enumerate(chat.users)).get(call.which, 0)}"),
        "assign": ("PATCH", f"{of_conversation}/assignment"),
        "send": ("POST", f"{of_conversation}/messages"),
    }[call.kind]
    answer = sandbox.handle(
        method,
        f"{BASE_PATH}/chats/{chat.chat_id}{path}",
        query,
        {"Authorization": f"Bearer {call.key}"},
        json.dumps(call.body).encode(),
    )
    body = json.loads(answer.body)
    if answer.status >= 400:
        return answer.status, body["error"], answer.headers
    found = {"user": [body.get("user")], "messages": body.get("conversation", {}).get("messages")}
    rows = found.get(call.kind, body.get(call.kind))
    return answer.status, [row["id"] for row in rows] if rows else rows, answer.headers


@settings(max_examples=effort(30, 400), deadline=None)
@given(st.lists(CALLS, min_size=20, max_size=40), st.sampled_from([0, 0, 100]))
def test_random_requests_are_answered_as_the_documentation_says(
    calls: list[Call], spent: int
) -> None:
    clock = Clock(NOW.timestamp())
    sandbox = Sandbox(chat=a_chat(), clock=clock.time)
    sandbox.spend(spent)
    counts = {window_of(clock.now): spent}
    for call in calls:
        clock.now += call.seconds
        window = window_of(clock.now)
        counts[window] = counts.get(window, 0) + 1
        before = sandbox.chat.version
        status, content = answer_by_the_rules(sandbox.chat, call, sandbox.now())
        if counts[window] > LIMIT:
            status, content = 429, None
        found_status, found, headers = sent(sandbox, call)
        assert found_status == status
        if content not in (None, MALFORMED):
            assert found == content
        assert (sandbox.chat.version > before) == (
            status in (200, 201) and call.kind in ("assign", "send")
        )
        assert headers["X-RateLimit-Limit"] == str(LIMIT)
        assert headers["X-RateLimit-Remaining"] == str(max(0, LIMIT - counts[window]))
        assert headers["X-RateLimit-Reset"] == str((window + 1) * WINDOW)


def window_of(seconds: float) -> int:
    return math.floor(seconds / WINDOW)
