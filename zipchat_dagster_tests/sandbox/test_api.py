"""The documented rules, and every way in which the undocumented ones can turn out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.sandbox import (
    BASE_PATH,
    BASE_URL,
    Chat,
    Fault,
    FaultKind,
    Request,
    Sandbox,
    generate,
)

# 12 seconds into a minute of the clock.
NOW = datetime(2026, 3, 4, 15, 30, 12, tzinfo=UTC)
META_CHANNELS = ("whatsapp", "instagram", "messenger")
TOO_LATE = "Cannot send: customer last messaged more than 24 hours ago on a Meta channel"
AI_MODE = "Conversation is in AI mode; assign it to a user before sending a manual message"


class Clock:
    def __init__(self) -> None:
        self.time = NOW.timestamp()

    def __call__(self) -> float:
        return self.time


class Api:
    """A sandbox, its clock, and a client for it. Paths are below the chat."""

    def __init__(self, chat: Chat | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.chat = chat or generate(seed=1, conversations=130, days=20, now=NOW)
        arguments: dict[str, Any] = {"clock": self.clock, "limit": None, **options}
        self.sandbox = Sandbox(chat=self.chat, **arguments)
        self.client = httpx.Client(
            base_url=f"{BASE_URL}/chats/{self.chat.chat_id}",
            headers={"Authorization": "Bearer zc-sandbox"},
            transport=self.sandbox.transport(),
        )

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params=parameters)

    def ids(self, **parameters: Any) -> list[int]:
        response = self.get("/conversations", **parameters)
        return [conversation["id"] for conversation in response.json()["conversations"]]

    def refusal(self, method: str, path: str, **rest: Any) -> tuple[int, str]:
        response = self.client.request(method, path, **rest)
        return response.status_code, response.json()["error"]

    def conversation_id(self, channel: str = "web") -> int:
        return self.chat.add_conversation(at=NOW, channel=channel).id

    @property
    def user_id(self) -> int:
        return next(iter(self.chat.users))


def iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


# -- reading -------------------------------------------------------------------------------------


def test_the_list_has_its_documented_form() -> None:
    api = Api()
    conversation = api.get("/conversations").json()["conversations"][0]
    assert set(conversation) == {
        "id",
        "chat_id",
        "created_at",
        "last_message_at",
        "channel",
        "manual_reply_mode",
        "last_escalated_at",
        "last_escalation_resolved_at",
        "share_url",
        "lead",
        "assignee",
    }
    leads = [c["lead"] for c in api.get("/conversations").json()["conversations"] if c["lead"]]
    assert set(leads[0]) == {"id", "full_name", "email", "phone_number", "email_marketing_consent"}


def test_a_conversation_comes_with_its_messages_and_more_of_its_lead() -> None:
    api = Api()
    conversation = next(c for c in api.chat.conversations.values() if c.lead)
    shown = api.get(f"/conversations/{conversation.id}").json()["conversation"]
    assert set(shown["lead"]) == {
        "id",
        "full_name",
        "email",
        "phone_number",
        "email_marketing_consent",
        "first_name",
        "last_name",
        "shopify_customer_id",
        "additional_attributes",
    }
    assert [message["id"] for message in shown["messages"]] == [m.id for m in conversation.messages]
    assert set(shown["messages"][0]) == {
        "id",
        "role",
        "message",
        "manual_reply",
        "status",
        "sender_id",
        "created_at",
    }
    assert shown["messages"][0]["created_at"] == iso(conversation.messages[0].created_at)


def test_page_sizes_have_the_documented_defaults_and_maxima() -> None:
    api = Api()
    long = next(c for c in api.chat.conversations.values() if len(c.messages) > 200)
    assert len(api.ids()) == 50
    assert len(api.ids(per_page=500)) == 100
    assert len(api.ids(per_page=100, page=2)) == 30
    assert api.ids(page=99) == []
    path = f"/conversations/{long.id}"
    for size, shown in ((None, 100), (500, 200), (7, 7)):
        parameters = {} if size is None else {"message_per_page": size}
        messages = api.get(path, **parameters).json()["conversation"]["messages"]
        assert len(messages) == shown
    second = api.get(path, message_page=2).json()["conversation"]["messages"]
    assert second[0]["id"] == long.messages[100].id


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "", "9" * 5000])
def test_malformed_page_numbers_are_refused(value: str) -> None:
    api = Api()
    refused = (422, "page must be a positive integer")
    assert api.refusal("GET", "/conversations", params={"page": value}) == refused
    assert api.refusal("GET", "/users", params={"page": value}) == refused
    conversation = f"/conversations/{api.conversation_id()}"
    refused = (422, "message_per_page must be a positive integer")
    assert api.refusal("GET", conversation, params={"message_per_page": value}) == refused


@pytest.mark.parametrize("value", ["yesterday", "", "2026-13-01", "2026-03-04T10:00:00 00:00"])
def test_malformed_times_are_refused(value: str) -> None:
    api = Api()
    text = "{} must be an ISO 8601 timestamp"
    name = "last_message_at_since"
    assert api.refusal("GET", "/conversations", params={name: value}) == (422, text.format(name))
    name = "message_created_at_since"
    path = f"/conversations/{api.conversation_id()}"
    assert api.refusal("GET", path, params={name: value}) == (422, text.format(name))


@pytest.mark.parametrize("order", ["desc", "asc", "id"])
def test_filters_include_the_time_itself(order: str) -> None:
    api = Api(order=order)
    conversation = sorted(api.chat.conversations.values(), key=lambda c: c.last_message_at)[60]
    since = conversation.last_message_at
    expected = {c.id for c in api.chat.conversations.values() if c.last_message_at >= since}
    assert set(api.ids(last_message_at_since=iso(since), per_page=100)) == expected
    assert conversation.id in expected
    assert set(api.ids(last_message_at_since=since.isoformat(), per_page=100)) == expected
    later = api.ids(last_message_at_since=iso(since + timedelta(seconds=1)), per_page=100)
    assert conversation.id not in later

    created = conversation.messages[-1].created_at
    shown = api.get(f"/conversations/{conversation.id}", message_created_at_since=iso(created))
    expected = {m.id for m in conversation.messages if m.created_at >= created}
    assert {m["id"] for m in shown.json()["conversation"]["messages"]} == expected


@pytest.mark.parametrize("order", ["desc", "asc", "id"])
@pytest.mark.parametrize("shuffle_ties", [True, False])
def test_the_list_has_each_order(order: str, shuffle_ties: bool) -> None:
    api = Api(order=order, shuffle_ties=shuffle_ties)
    pages = [api.get("/conversations", page=page).json()["conversations"] for page in (1, 2, 3)]
    rows = [row for page in pages for row in page]
    field = "id" if order == "id" else "last_message_at"
    values = [row[field] for row in rows]
    assert values == sorted(values, reverse=order == "desc")
    assert len({row["id"] for row in rows}) == 130
    api.chat.add_message(rows[77]["id"], at=NOW + timedelta(hours=1))
    assert (api.ids()[0] == rows[77]["id"]) == (order == "desc")


def test_ties_can_come_in_another_order_each_time() -> None:
    chat = Chat()
    for second in (0, 1, 1, 1, 1, 1, 1, 1, 1, 2):
        chat.add_conversation(at=NOW + timedelta(seconds=second))
    steady = Api(chat)
    assert len({tuple(steady.ids()) for _ in range(20)}) == 1
    shuffled = Api(chat, shuffle_ties=True)
    seen = [shuffled.ids() for _ in range(20)]
    assert len({tuple(ids) for ids in seen}) > 10
    assert {(ids[0], ids[-1]) for ids in seen} == {(10, 1)}
    assert len({tuple(shuffled.ids(per_page=3, page=2)) for _ in range(20)}) > 5
    assert all(sorted(ids) == list(range(1, 11)) for ids in seen)


def test_messages_have_each_order() -> None:
    chat = generate(seed=1, conversations=5, days=5, now=NOW)
    conversation = max(chat.conversations.values(), key=lambda c: len(c.messages))
    ids = [m.id for m in conversation.messages]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        shown = Api(chat, message_order=order).get(f"/conversations/{conversation.id}").json()
        assert [m["id"] for m in shown["conversation"]["messages"]] == expected


def test_pages_tell_of_the_others_in_each_way() -> None:
    chat = generate(seed=1, conversations=130, days=20, now=NOW)
    long = next(c for c in chat.conversations.values() if len(c.messages) > 200)
    total = len(long.messages)
    path = f"/conversations/{long.id}"

    assert set(Api(chat).get("/conversations").json()) == {"conversations"}
    meta = Api(chat, pagination="meta")
    assert meta.get("/conversations", page=2).json()["meta"] == {
        "current_page": 2,
        "per_page": 50,
        "total_pages": 3,
        "total_count": 130,
    }
    assert meta.get(path).json()["meta"]["total_count"] == total
    assert meta.get("/users").json()["meta"]["total_pages"] == 1
    other = Api(chat, pagination="pagination")
    expected = {"page": 2, "per_page": 50, "total": 130, "next_page": 3}
    assert other.get("/conversations", page=2).json()["pagination"] == expected
    assert other.get("/conversations", page=3).json()["pagination"]["next_page"] is None
    bare = Api(chat, pagination="pagination", wrap=False).get(path).json()
    assert bare["id"] == long.id
    assert bare["pagination"]["total"] == total


def test_users_are_named_in_each_way() -> None:
    chat = generate(seed=1, conversations=3, days=3, now=NOW)
    user = next(iter(chat.users.values()))
    names: dict[str, dict[str, str]] = {
        "full_name": {"full_name": user.full_name},
        "name": {"name": user.full_name},
        "first_last": {"first_name": user.first_name, "last_name": user.last_name},
    }
    for style, name in names.items():
        api = Api(chat, user_name=style)
        shown = api.get(f"/users/{user.id}").json()["user"]
        rest = {
            "id": user.id,
            "email": user.email,
            "avatar_url": user.avatar_url,
            "role": user.role,
        }
        assert shown == rest | name
        assert api.get("/users").json()["users"][0] == shown
        assert Api(chat, user_name=style, wrap=False).get(f"/users/{user.id}").json() == shown


def test_unknown_things_are_not_found() -> None:
    api = Api()
    assert api.refusal("GET", "/conversations/1") == (404, "Conversation not found")
    assert api.refusal("GET", "/users/1") == (404, "User not found")
    assert api.refusal("GET", f"{BASE_URL}/chats/2/users") == (404, "Chat not found")
    assert api.refusal("GET", f"{BASE_URL}/chats/x/conversations/1") == (404, "Chat not found")
    for path in (
        "/leads",
        "/conversations/x",
        f"/conversations/{'9' * 5000}",
        "https://127.0.0.1/",
    ):
        assert api.refusal("GET", path) == (404, "Not found")
    assert api.refusal("DELETE", "/conversations/1") == (404, "Not found")
    api.chat.delete_conversation(api.ids()[0], at=NOW)
    assert api.refusal("GET", f"/conversations/{next(iter(api.chat.deleted))}")[0] == 404


@pytest.mark.parametrize("header", ["Bearer zc-wrong", "zc-sandbox", "", "Bearer "])
def test_the_key_is_required(header: str) -> None:
    response = Api().client.get("/users", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.json() == {"error": "Missing or invalid API key"}
    assert "X-RateLimit-Remaining" in response.headers


def test_the_scheme_of_the_authorization_is_case_insensitive() -> None:
    api = Api()
    assert api.client.get("/users", headers={"Authorization": "bearer zc-sandbox"}).is_success


def test_ids_can_be_strings_of_digits() -> None:
    api = Api(id_type="str")
    conversation = next(c for c in api.chat.conversations.values() if c.lead)
    api.chat.assign(conversation.id, api.user_id, at=NOW)
    shown = api.get(f"/conversations/{conversation.id}").json()["conversation"]
    assert shown["id"] == str(conversation.id)
    assert shown["chat_id"] == "1"
    assert shown["lead"]["id"] == str(conversation.lead and conversation.lead.id)
    assert shown["assignee"]["id"] == str(api.user_id)
    ids = [(message["id"], message["sender_id"]) for message in shown["messages"]]
    assert ids == [(str(m.id), m.sender_id and str(m.sender_id)) for m in conversation.messages]
    users = api.get("/users").json()["users"]
    assert [user["id"] for user in users] == [str(user_id) for user_id in api.chat.users]


@pytest.mark.parametrize("pagination", ["none", "meta", "pagination"])
def test_pages_can_be_smaller_than_asked_for(pagination: str) -> None:
    api = Api(largest_page=50, pagination=pagination)
    assert len(api.ids(per_page=100)) == 50
    assert len(api.ids(per_page=100, page=3)) == 30
    answer = api.get("/conversations", per_page=100).json()
    stated = answer.get("meta") or answer.get("pagination")
    assert stated is None or stated["per_page"] == 50
    long = next(c for c in api.chat.conversations.values() if len(c.messages) > 200)
    shown = api.get(f"/conversations/{long.id}", message_per_page=200).json()
    assert len(shown["conversation"]["messages"]) == 50


@pytest.mark.parametrize("error", [1, -1])
@pytest.mark.parametrize("ignores", [True, False])
def test_totals_can_be_wrong(error: int, ignores: bool) -> None:
    api = Api(pagination="meta", total_error=error, totals_ignore_since=ignores)
    conversation = max(api.chat.conversations.values(), key=lambda c: c.last_message_at)
    since = iso(conversation.last_message_at)
    page = api.get("/conversations", last_message_at_since=since).json()
    total = 130 if ignores else len(page["conversations"])
    assert page["meta"]["total_count"] == total + error
    path = f"/conversations/{conversation.id}"
    shown = api.get(path, message_created_at_since=since).json()
    messages = conversation.messages if ignores else shown["conversation"]["messages"]
    assert shown["meta"]["total_count"] == len(messages) + error


def test_a_deleted_message_takes_the_activity_back() -> None:
    api = Api()
    conversation_id = api.conversation_id()
    api.chat.add_message(conversation_id, at=NOW + timedelta(hours=1))
    api.chat.delete_newest_message(conversation_id, at=NOW + timedelta(hours=2))
    assert api.chat.conversations[conversation_id].last_message_at == NOW


def test_errors_can_stand_under_another_key() -> None:
    assert Api(error_key="message").get("/users/1").json() == {"message": "User not found"}


def test_an_unknown_option_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"order\n  Input should be 'desc', 'asc' or 'id'"):
        Api(order="newest")
    with pytest.raises(ValueError, match=r"window\n  Input should be greater than 0"):
        Api(window=0)
    with pytest.raises(ValueError, match=r"mutate_kinds.1\n  Input should be"):
        Api(mutate_kinds=("assign", "fly"))


# -- escalations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_only_the_last_escalation_shows(keeps: bool) -> None:
    api = Api(Chat(), reescalation_resolved="keep" if keeps else "clear")
    conversation_id = api.conversation_id()
    hours = [NOW + timedelta(hours=hour) for hour in range(4)]

    def shown() -> tuple[str | None, str | None]:
        conversation = api.get("/conversations").json()["conversations"][0]
        return conversation["last_escalated_at"], conversation["last_escalation_resolved_at"]

    assert shown() == (None, None)
    api.chat.escalate(conversation_id, at=hours[0])
    assert shown() == (iso(hours[0]), None)
    api.chat.resolve(conversation_id, at=hours[1])
    assert shown() == (iso(hours[0]), iso(hours[1]))
    api.chat.escalate(conversation_id, at=hours[2])
    assert shown() == (iso(hours[2]), iso(hours[1]) if keeps else None)
    api.chat.resolve(conversation_id, at=hours[3])
    assert shown() == (iso(hours[2]), iso(hours[3]))


# -- writing -------------------------------------------------------------------------------------


def test_a_conversation_is_taken_over_answered_and_handed_back() -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}"
    assignment, messages = f"{path}/assignment", f"{path}/messages"
    taken = api.client.patch(assignment, json={"assignee_id": api.user_id}).json()["conversation"]
    user = api.chat.users[api.user_id]
    assert taken["manual_reply_mode"] is True
    assert taken["assignee"] == {
        "id": user.id,
        "full_name": user.full_name,
        "email": user.email,
    }
    api.clock.time += 5
    sent = api.client.post(messages, json={"message": "Hello", "sender_id": user.id})
    assert sent.status_code == 201
    message = sent.json()["message"]
    assert message["manual_reply"] is True
    assert (message["role"], message["sender_id"]) == ("assistant", user.id)
    assert message["created_at"] == iso(NOW + timedelta(seconds=5))
    shown = api.get(path).json()["conversation"]
    assert shown["messages"][-1] == message
    assert shown["last_message_at"] == message["created_at"]

    back = api.client.patch(assignment, json={"assignee_id": None}).json()["conversation"]
    assert (back["assignee"], back["manual_reply_mode"]) == (None, False)
    assert api.refusal("POST", messages, json={"message": "Hi", "sender_id": user.id}) == (
        422,
        AI_MODE,
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"\xff", b'{"user": 1}'],
)
def test_an_assignment_without_assignee_is_refused(body: bytes) -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}/assignment"
    text = "assignee_id is required (use null to assign to AI)"
    assert api.refusal("PATCH", path, content=body) == (422, text)


@pytest.mark.parametrize("user_id", [1, "7", True, [3], 1.5])
def test_a_stranger_is_not_assignable(user_id: object) -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}"
    text = "is not an assignable user for this chat"
    refused = api.refusal("PATCH", f"{path}/assignment", json={"assignee_id": user_id})
    assert refused == (422, f"assignee_id {text}")
    body = {"message": "Hi", "sender_id": user_id}
    assert api.refusal("POST", f"{path}/messages", json=body) == (422, f"sender_id {text}")


def test_a_message_needs_text_and_sender() -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}/messages"
    for text in (None, "", "  ", 5):
        body = {"message": text, "sender_id": api.user_id}
        assert api.refusal("POST", path, json=body) == (422, "message is required")
    assert api.refusal("POST", path, json={"message": "Hi"}) == (422, "sender_id is required")
    missing = (404, "Conversation not found")
    assert api.refusal("POST", "/conversations/1/messages", json={"message": "Hi"}) == missing
    assert api.refusal("PATCH", "/conversations/1/assignment", json={}) == missing


@pytest.mark.parametrize("channel", ["web", "chat", "email", *META_CHANNELS])
def test_meta_channels_close_24_hours_after_the_customer(channel: str) -> None:
    api = Api()
    conversation_id = api.conversation_id(channel)
    api.chat.assign(conversation_id, api.user_id, at=NOW)
    path = f"/conversations/{conversation_id}/messages"
    body = {"message": "Hi", "sender_id": api.user_id}
    api.clock.time += 24 * 3600
    assert api.client.post(path, json=body).status_code == 201
    api.clock.time += 1
    if channel in META_CHANNELS:
        assert api.refusal("POST", path, json=body) == (422, TOO_LATE)
        api.chat.add_message(conversation_id, at=NOW + timedelta(days=1, seconds=1))
    assert api.client.post(path, json=body).status_code == 201


# -- the rate limit ------------------------------------------------------------------------------


def limits(response: httpx.Response) -> tuple[int, int, int, str]:
    headers = response.headers
    return (
        response.status_code,
        int(headers["X-RateLimit-Limit"]),
        int(headers["X-RateLimit-Remaining"]),
        headers["X-RateLimit-Reset"],
    )


def test_a_window_of_the_clock() -> None:
    api = Api(limit=3)
    reset = str(int(NOW.timestamp()) - 12 + 60)
    seen = [limits(api.get("/users")) for _ in range(4)]
    assert seen == [(200, 3, 2, reset), (200, 3, 1, reset), (200, 3, 0, reset), (429, 3, 0, reset)]
    response = api.get("/users")
    assert response.json() == {"error": "Rate limit exceeded"}
    assert "Retry-After" not in response.headers
    api.clock.time += 47.9
    assert api.get("/users").status_code == 429
    api.clock.time += 0.1
    assert limits(api.get("/users"))[:3] == (200, 3, 2)


def test_a_window_from_the_first_request() -> None:
    api = Api(limit=1, window_alignment="first_request")
    api.clock.time += 0.25
    assert limits(api.get("/users")) == (200, 1, 0, str(int(NOW.timestamp()) + 61))
    api.clock.time += 59.75
    assert api.get("/users").status_code == 429
    api.clock.time += 30.5
    assert limits(api.get("/users")) == (200, 1, 0, str(int(NOW.timestamp()) + 151))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reset_rounding": "ceil"}, f"{NOW.timestamp() + 61:.0f}"),
        ({"reset_rounding": "floor"}, f"{NOW.timestamp() + 60:.0f}"),
        ({"reset_rounding": "exact"}, f"{NOW.timestamp() + 60.25:.3f}"),
        ({"reset_format": "seconds"}, "60"),
    ],
)
def test_the_reset_has_each_form(options: dict[str, Any], expected: str) -> None:
    api = Api(limit=5, window_alignment="first_request", **options)
    api.clock.time += 0.25
    assert limits(api.get("/users"))[3] == expected


def test_a_refusal_can_say_when_to_come_back_and_headers_can_be_missing() -> None:
    api = Api(limit=0, retry_after=True, rate_limit_headers=False)
    response = api.get("/users")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "48"
    assert not any(name.startswith("x-ratelimit") for name in response.headers)


def test_every_answer_counts_and_another_spender_too() -> None:
    api = Api(limit=10)
    api.sandbox.add_fault(Fault("503", endpoint="users"))
    assert limits(api.get("/users"))[:3] == (503, 10, 9)
    assert limits(api.get("/users/1"))[:3] == (404, 10, 8)
    assert limits(api.client.get("/users", headers={"Authorization": ""}))[:3] == (401, 10, 7)
    api.sandbox.spend(5)
    assert limits(api.get("/users"))[:3] == (200, 10, 1)
    assert limits(api.get("/users"))[:3] == (200, 10, 0)
    assert api.get("/users").status_code == 429


def test_no_limit_states_a_million() -> None:
    assert limits(Api(limit=None).get("/users"))[:3] == (200, 1_000_000, 999_999)


def test_the_date_is_the_servers() -> None:
    api = Api(clock_offset=-90)
    assert parsedate_to_datetime(api.get("/users").headers["Date"]) == NOW - timedelta(seconds=90)
    assert api.sandbox.now() == NOW - timedelta(seconds=90)


# -- trouble -------------------------------------------------------------------------------------


def test_faults_strike_as_often_as_asked_and_only_where_asked() -> None:
    api = Api()
    first, second = api.ids()[:2]
    api.sandbox.add_fault(Fault("500", conversation_id=second, times=2))
    api.sandbox.add_fault(Fault("503", endpoint="users", times=None))
    api.sandbox.add_fault(Fault("500", endpoint="list"))
    statuses = [api.get(f"/conversations/{i}").status_code for i in (first, second, second, second)]
    assert statuses == [200, 500, 500, 200]
    assert {api.get("/users").status_code for _ in range(5)} == {503}
    assert [api.get("/conversations").status_code for _ in range(2)] == [500, 200]
    api.sandbox.clear_faults()
    assert api.get("/users").status_code == 200


def test_each_kind_of_fault() -> None:
    api = Api()

    def struck(kind: Any) -> httpx.Response:
        api.sandbox.add_fault(Fault(kind))
        return api.get("/users")

    assert struck("500").json() == {"error": "Internal server error"}
    assert [struck(kind).status_code for kind in ("403", "404", "500", "503")] == [
        403,
        404,
        500,
        503,
    ]
    for kind in ("truncated", "not_json"):
        response = struck(kind)
        assert response.status_code == 200
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            response.json()
    with pytest.raises(httpx.ReadTimeout):
        struck("timeout")
    for kind in ("disconnect", "reset"):
        with pytest.raises(httpx.ReadError):
            struck(kind)
    assert struck("closed").status_code == 200
    with pytest.raises(ValueError, match=r"0\n  Input should be '403', "):
        Fault("503!")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"endpoint\n  Input should be 'list', "):
        Fault("503", endpoint="/users")  # type: ignore[arg-type]


def test_a_key_can_be_revoked_in_the_middle() -> None:
    api = Api(faults=[Fault("403", after=2, times=None)])
    statuses = [api.get(path).status_code for path in ("/users", "/conversations", "/users")]
    assert [*statuses, api.get("/users").status_code] == [200, 200, 403, 403]


def test_a_listed_conversation_can_be_broken_or_not_found() -> None:
    api = Api()
    broken, missing, sound = api.ids()[:3]
    for kind, conversation_id in (("500", broken), ("404", missing)):
        api.sandbox.add_fault(Fault(kind, conversation_id=conversation_id, times=None))  # type: ignore[arg-type]
    assert api.ids()[:3] == [broken, missing, sound]
    for _ in range(3):
        found = [api.get(f"/conversations/{i}").status_code for i in (broken, missing, sound)]
        assert found == [500, 404, 200]


@pytest.mark.parametrize(("kind", "is_applied"), [("lost_write", True), ("disconnect", False)])
def test_a_write_is_lost_before_or_after_it_happened(kind: FaultKind, is_applied: bool) -> None:
    api = Api()
    conversation_id = api.conversation_id()
    api.sandbox.add_fault(Fault(kind, endpoint="assignment"))
    with pytest.raises(httpx.ReadError):
        api.client.patch(
            f"/conversations/{conversation_id}/assignment", json={"assignee_id": api.user_id}
        )
    assert api.chat.conversations[conversation_id].manual_reply_mode == is_applied


def test_a_share_of_requests_fails_in_passing() -> None:
    def outcome(api: Api) -> str:
        try:
            response = api.get("/users")
            response.json()
        except httpx.ReadError:
            return "disconnect"
        except ValueError:
            return "503" if response.status_code == 503 else "truncated"
        return str(response.status_code)

    api, again = Api(fault_rate=0.3, seed=4), Api(fault_rate=0.3, seed=4)
    outcomes = [outcome(api) for _ in range(300)]
    assert outcomes == [outcome(again) for _ in range(300)]
    assert set(outcomes) == {"200", "500", "503", "truncated", "disconnect"}
    assert 60 < sum(result != "200" for result in outcomes) < 120


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({"latency": 0.3}, 0.3), ({"latency": 0.3, "fault_rate": 1, "fault_kinds": ("slow",)}, 2.3)],
)
def test_latency_is_slept_after_the_answer_is_made(options: dict[str, Any], seconds: float) -> None:
    api = Api(limit=1, **options)
    api.sandbox.sleep = lambda seconds: setattr(api.clock, "time", api.clock.time + seconds)
    assert parsedate_to_datetime(api.get("/users").headers["Date"]) == NOW
    assert api.clock.time - NOW.timestamp() == pytest.approx(seconds)


def test_the_chat_changes_between_requests() -> None:
    asked: list[Request] = []

    def before(sandbox: Sandbox, request: Request) -> None:
        asked.append(request)
        sandbox.chat.delete_conversation(next(iter(sandbox.chat.conversations)), at=sandbox.now())

    api = Api(before_request=before)
    assert len(api.ids(per_page=100, page=2)) == 29
    assert len(api.ids(per_page=100, page=2)) == 28
    assert (asked[0].endpoint, asked[0].query["page"]) == ("list", "2")

    api = Api(mutate_every=3, mutate_kinds=("delete_conversation",))
    for _ in range(9):
        api.get("/users")
    assert len(api.chat.deleted) == 3


# -- counters and truth --------------------------------------------------------------------------


def test_stats_count_what_was_asked() -> None:
    api = Api(limit=6)
    first, second = api.ids()[:2]
    for conversation_id in (first, second, second):
        api.get(f"/conversations/{conversation_id}")
    api.get("/users")
    api.get(f"/users/{api.user_id}")
    api.get("/users")
    start = NOW.timestamp() - 12
    assert api.sandbox.stats() == {
        "requests": 7,
        "refused": 1,
        "faults": 0,
        "by_endpoint": {
            "list": 1,
            "show": 3,
            "users": 1,
            "user": 1,
            "assignment": 0,
            "message": 0,
        },
        "shows": {first: 1, second: 2},
        "windows": [(start, 7)],
    }
    api.sandbox.reset_stats()
    api.clock.time += 60
    api.get("/users")
    assert api.sandbox.stats()["windows"] == [(start + 60, 1)]


def test_the_truth_is_everything() -> None:
    api = Api(pagination="meta")
    gone = api.ids()[0]
    api.chat.delete_conversation(gone, at=NOW)
    truth = api.sandbox.truth()
    listed = [
        row
        for page in (1, 2)
        for row in api.get("/conversations", per_page=100, page=page).json()["conversations"]
    ]
    assert sorted(listed, key=lambda row: row["id"]) == truth["conversations"]
    assert gone not in truth["messages"]
    assert truth["users"] == api.get("/users").json()["users"]
    some = truth["conversations"][0]["id"]
    shown = api.get(f"/conversations/{some}").json()["conversation"]
    assert shown["messages"] == truth["messages"][some][:100]


def test_threads_share_one_limit() -> None:
    api = Api(limit=50)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: api.get("/users").status_code, range(80)))
    assert sorted(statuses) == [200] * 50 + [429] * 30


@settings(database=None, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "PUT"]),
    path=st.sampled_from(["/conversations", "/conversations/{}", "/users"])
    | st.sampled_from(["/conversations/{}/messages", "/conversations/{}/assignment"])
    | st.text(),
    query=st.text() | st.builds("last_message_at_since={}&page={}".format, st.text(), st.text()),
    body=st.binary(),
)
def test_nothing_that_a_client_sends_raises(
    method: str, path: str, query: str, body: bytes
) -> None:
    sandbox = Sandbox(chat=Chat(), limit=None)
    conversation = sandbox.chat.add_conversation(at=NOW)
    answer = sandbox.handle(
        method,
        f"{BASE_PATH}/chats/1{path.replace('{}', str(conversation.id))}",
        query,
        {"Authorization": "Bearer zc-sandbox"},
        body,
    )
    assert answer.status in (200, 404, 422)
