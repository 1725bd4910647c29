"""Writing: how the API refuses each mistake, and that nothing is ever sent twice by accident."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, get_args

import httpx
import pytest

from zipchat_dagster.client import (
    MalformedAnswerError,
    NotFoundError,
    ServerError,
    UnprocessableError,
    UnreachableError,
    ZipchatError,
)
from zipchat_dagster.sandbox import Fault, FaultKind
from zipchat_dagster_tests.client.support import NOW, Api, Script, a_client
from zipchat_dagster_tests.sandbox.support import AI_MODE, TOO_LATE


@pytest.fixture
def api() -> Api:
    return Api()


def a_conversation(api: Api, *, channel: str = "web", hours_ago: int = 1) -> int:
    return api.chat.add_conversation(at=NOW - timedelta(hours=hours_ago), channel=channel).id


@pytest.mark.parametrize("wrap", [True, False])
def test_a_conversation_is_taken_over_answered_and_handed_back(wrap: bool) -> None:
    api = Api(wrap=wrap)
    i = a_conversation(api)
    taken = api.client.assign(i, api.user_id)
    assert (taken["manual_reply_mode"], taken["assignee"]["id"]) == (True, api.user_id)
    sent = api.client.send_message(i, message="On its way 🚚", sender_id=api.user_id)
    assert sent == api.messages(i)[-1]
    assert (sent["message"], sent["sender_id"]) == ("On its way 🚚", api.user_id)
    back = api.client.hand_back(i)
    assert (back["manual_reply_mode"], back["assignee"]) == (False, None)
    assert back == api.conversation(i)


def test_assigning_passes_on_the_api_s_own_words(api: Api) -> None:
    i = a_conversation(api)
    with pytest.raises(NotFoundError, match="“Conversation not found”"):
        api.client.assign(4, api.user_id)
    with pytest.raises(NotFoundError, match="“Conversation not found”"):
        api.client.hand_back(4)
    with pytest.raises(UnprocessableError) as caught:
        api.client.assign(i, 4)
    assert caught.value.api_message == "assignee_id is not an assignable user for this chat"
    assert caught.value.status == 422


def test_sending_passes_on_the_api_s_own_words(api: Api) -> None:
    user_id = api.user_id

    def refusal(conversation_id: int, message: str = "Hi", sender_id: int = user_id) -> str:
        with pytest.raises(UnprocessableError) as caught:
            api.client.send_message(conversation_id, message=message, sender_id=sender_id)
        assert caught.value.method == "POST"
        assert caught.value.path == f"/chats/1/conversations/{conversation_id}/messages"
        return str(caught.value.api_message)

    i = a_conversation(api)
    with pytest.raises(NotFoundError, match="“Conversation not found”"):
        api.client.send_message(4, message="Hi", sender_id=user_id)
    assert refusal(i) == AI_MODE
    api.client.assign(i, user_id)
    assert refusal(i, message=" ") == "message is required"
    assert refusal(i, sender_id=4) == "sender_id is not an assignable user for this chat"
    for channel in ("whatsapp", "instagram", "messenger"):
        old = a_conversation(api, channel=channel, hours_ago=25)
        api.client.assign(old, user_id)
        assert refusal(old) == TOO_LATE


def test_an_assignee_of_null_is_sent_when_handing_back() -> None:
    script = Script({"conversation": {"id": 1}})
    client = a_client(script)
    client.hand_back(1)
    client.assign(1, 7)
    bodies = [json.loads(request.content) for request in script.requests]
    assert bodies == [{"assignee_id": None}, {"assignee_id": 7}]


def test_half_of_a_surrogate_pair_in_a_message_is_sent_as_the_replacement_character() -> None:
    script = Script({"message": {"id": 1}})
    a_client(script).send_message(1, message="a\ud83d", sender_id=1)
    assert json.loads(script.requests[0].content)["message"] == "a�"


def test_a_message_may_come_back_bare() -> None:
    bare = {"id": 1, "role": "assistant", "message": "Hi"}
    assert a_client(Script(bare)).send_message(1, message="Hi", sender_id=1) == bare


@pytest.mark.parametrize("kind", sorted({*get_args(FaultKind)} - {"403", "404", "slow", "closed"}))
def test_a_write_is_never_sent_again_after_an_unclear_failure(api: Api, kind: str) -> None:
    i = a_conversation(api)
    api.client.assign(i, api.user_id)
    api.sandbox.reset_stats()
    for endpoint in ("message", "assignment"):
        api.sandbox.add_fault(Fault(kind, endpoint=endpoint))  # type: ignore[arg-type]
    expected: dict[str, Any] = {
        "500": ServerError,
        "503": ServerError,
        "truncated": MalformedAnswerError,
        "not_json": MalformedAnswerError,
    }
    with pytest.raises(expected.get(kind, UnreachableError)) as caught:
        api.client.send_message(i, message="Only once", sender_id=api.user_id)
    assert getattr(caught.value, "was_sent", True)
    with pytest.raises(ZipchatError):
        api.client.hand_back(i)
    asked = api.sandbox.stats()["by_endpoint"]
    assert {name: count for name, count in asked.items() if count} == {
        "message": 1,
        "assignment": 1,
    }
    assert api.clock.slept == []


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_a_write_is_sent_again_when_no_connection_was_made(error: type[Exception]) -> None:
    script = Script({"user": {"id": 1}}, error("no"), error("no"), {"conversation": {"id": 1}})
    client = a_client(script)
    client.get_user(1)
    assert client.hand_back(1) == {"id": 1}
    assert len(script.requests) == 4


def test_a_write_is_sent_again_after_a_429() -> None:
    api = Api(limit=10)
    i = a_conversation(api)
    api.client.assign(i, api.user_id)
    api.sandbox.spend(10)  # another program on the same key
    api.client.send_message(i, message="Only once", sender_id=api.user_id)
    assert api.sandbox.stats()["refused"] == 1
    assert [m["message"] for m in api.messages(i)].count("Only once") == 1
