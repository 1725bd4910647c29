"""The documented answers, and every variant where the documentation leaves one open."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.sandbox import BASE_PATH, BASE_URL, Chat, Sandbox, generate
from zipchat_dagster_tests.sandbox.support import META_CHANNELS, NOW, TOO_LATE, Api, iso

# -- reading -------------------------------------------------------------------------------------


def test_the_list_has_its_documented_form() -> None:
    api = Api()
    conversation = api.get("/conversations").json()["conversations"][0]
    assert set(conversation) == {
        *("id", "chat_id", "created_at", "last_message_at", "channel", "manual_reply_mode"),
        *("last_escalated_at", "last_escalation_resolved_at", "share_url", "lead", "assignee"),
    }
    leads = [c["lead"] for c in api.get("/conversations").json()["conversations"] if c["lead"]]
    assert set(leads[0]) == {"id", "full_name", "email", "phone_number", "email_marketing_consent"}


def test_a_conversation_comes_with_its_messages_and_more_of_its_lead() -> None:
    api = Api()
    conversation = next(c for c in api.chat.conversations.values() if c.lead)
    shown = api.get(f"/conversations/{conversation.id}").json()["conversation"]
    assert set(shown["lead"]) == {
        *("id", "full_name", "email", "phone_number", "email_marketing_consent"),
        *("first_name", "last_name", "shopify_customer_id", "additional_attributes"),
    }
    assert [message["id"] for message in shown["messages"]] == [m.id for m in conversation.messages]
    names = ("id", "role", "message", "manual_reply", "status", "sender_id", "created_at")
    assert set(shown["messages"][0]) == {*names}
    assert shown["messages"][0]["created_at"] == iso(conversation.messages[0].created_at)


def test_pages_have_the_documented_sizes() -> None:
    api = Api()
    assert [len(api.ids()), len(api.ids(per_page=500))] == [50, 100]
    long = next(c for c in api.chat.conversations.values() if len(c.messages) > 200)
    for parameters, size in (({}, 100), ({"message_per_page": 500}, 200)):
        shown = api.get(f"/conversations/{long.id}", **parameters).json()["conversation"]
        assert len(shown["messages"]) == size


@pytest.mark.parametrize("value", ["0", "two", "9" * 5000])
def test_malformed_page_numbers_are_refused(value: str) -> None:
    api = Api()
    refused = (422, "page must be a positive integer")
    assert api.refusal("GET", "/conversations", params={"page": value}) == refused
    assert api.refusal("GET", "/users", params={"page": value}) == refused
    conversation = f"/conversations/{api.conversation_id()}"
    refused = (422, "message_per_page must be a positive integer")
    assert api.refusal("GET", conversation, params={"message_per_page": value}) == refused


@pytest.mark.parametrize("value", ["yesterday", "2026-03-04T10:00:00 00:00"])
def test_malformed_times_are_refused(value: str) -> None:
    api = Api()
    text = "{} must be an ISO 8601 timestamp"
    name = "last_message_at_since"
    assert api.refusal("GET", "/conversations", params={name: value}) == (422, text.format(name))
    name = "message_created_at_since"
    path = f"/conversations/{api.conversation_id()}"
    assert api.refusal("GET", path, params={name: value}) == (422, text.format(name))


@pytest.mark.parametrize("order", ["desc", "asc", "id"])
def test_the_list_has_each_order(order: str) -> None:
    api = Api(order=order)
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


def test_pages_describe_the_other_pages_in_each_way() -> None:
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


def test_unknown_chats_records_and_paths_are_not_found() -> None:
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


def test_deleting_the_newest_message_moves_the_activity_back() -> None:
    api = Api()
    conversation_id = api.conversation_id()
    api.chat.add_message(conversation_id, at=NOW + timedelta(hours=1))
    api.chat.delete_newest_message(conversation_id, at=NOW + timedelta(hours=2))
    assert api.chat.conversations[conversation_id].last_message_at == NOW


def test_errors_can_have_another_key() -> None:
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


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"\xff", b'{"user": 1}'],
)
def test_an_assignment_without_assignee_is_refused(body: bytes) -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}/assignment"
    text = "assignee_id is required (use null to assign to AI)"
    assert api.refusal("PATCH", path, content=body) == (422, text)


@pytest.mark.parametrize("user_id", [1, [3], 1.5])
def test_a_stranger_is_not_assignable(user_id: object) -> None:
    api = Api()
    path = f"/conversations/{api.conversation_id()}"
    text = "is not an assignable user for this chat"
    refused = api.refusal("PATCH", f"{path}/assignment", json={"assignee_id": user_id})
    assert refused == (422, f"assignee_id {text}")
    body = {"message": "Hi", "sender_id": user_id}
    assert api.refusal("POST", f"{path}/messages", json=body) == (422, f"sender_id {text}")


@pytest.mark.parametrize("channel", ["web", *META_CHANNELS])
def test_meta_channels_close_24_hours_after_the_customer(channel: str) -> None:
    api = Api()
    conversation_id = api.conversation_id(channel)
    api.chat.assign(conversation_id, api.user_id, at=NOW)
    path = f"/conversations/{conversation_id}/messages"
    body = {"message": "Hi", "sender_id": api.user_id}
    api.clock.now += 24 * 3600
    assert api.client.post(path, json=body).status_code == 201
    api.clock.now += 1
    if channel in META_CHANNELS:
        assert api.refusal("POST", path, json=body) == (422, TOO_LATE)
        api.chat.add_message(conversation_id, at=NOW + timedelta(days=1, seconds=1))
    assert api.client.post(path, json=body).status_code == 201


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
    api.clock.now += 60
    api.get("/users")
    assert api.sandbox.stats()["windows"] == [(start + 60, 1)]


def test_the_truth_has_everything_that_the_api_shows() -> None:
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
