"""Faults that strike on request or at random, latency, and a chat that changes meanwhile."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from zipchat_dagster.sandbox import Fault, FaultKind, Request, Sandbox
from zipchat_dagster_tests.sandbox.support import NOW, Api


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


def test_each_kind_of_fault_strikes() -> None:
    api = Api()

    def struck(kind: Any) -> httpx.Response:
        api.sandbox.add_fault(Fault(kind))
        return api.get("/users")

    assert struck("500").json() == {"error": "Internal server error"}
    for status in (403, 404, 500, 503):
        assert struck(f"{status}").status_code == status
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


def test_a_share_of_requests_fails_with_transient_faults() -> None:
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
    api.sandbox.sleep = api.clock.sleep
    assert parsedate_to_datetime(api.get("/users").headers["Date"]) == NOW
    assert api.clock.now - NOW.timestamp() == pytest.approx(seconds)


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
