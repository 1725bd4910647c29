"""The sandbox on a port, and its command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from zipchat_dagster.sandbox import Fault, Sandbox, generate, serve
from zipchat_dagster.sandbox.__main__ import main

COMMAND = [sys.executable, "-m", "zipchat_dagster.sandbox"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, httpx.Client]]:
    chat = generate(seed=1, conversations=20, days=3, now=datetime.now(UTC))
    sandbox = Sandbox(chat=chat, limit=1000)
    headers = {"Authorization": "Bearer zc-sandbox"}
    with (
        serve(sandbox) as base_url,
        httpx.Client(base_url=f"{base_url}/chats/1", headers=headers, timeout=5) as client,
    ):
        yield sandbox, client


def control(client: httpx.Client, method: str, name: str, **arguments: object) -> httpx.Response:
    url = client.base_url.copy_with(path=f"/_sandbox/{name}")
    body = arguments if method == "POST" else None
    return httpx.request(method, url, json=body)


def test_it_answers_like_the_socketless_one(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    response = client.get("/conversations", params={"per_page": 3, "page": 2})
    other = httpx.Client(transport=sandbox.transport()).get(
        str(response.request.url), headers=client.headers
    )
    assert response.json() == other.json()
    assert response.headers["X-RateLimit-Limit"] == "1000"
    assert "server" not in response.headers
    assert client.get("/users/1").status_code == 404


def test_the_date_is_the_sandboxs_alone(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    control(client, "POST", "clock", offset=86_400)
    dates = client.get("/users").headers.get_list("date")
    assert len(dates) == 1
    assert abs(sandbox.server_time() - datetime.now(UTC).timestamp() - 86_400) < 10
    assert f"{sandbox.now():%d %b %Y}" in dates[0]
    control(client, "POST", "clock", offset=0)


def test_writes_arrive_with_their_body(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    conversation_id = next(iter(sandbox.chat.conversations))
    user_id = next(iter(sandbox.chat.users))
    path = f"/conversations/{conversation_id}/assignment"
    taken = client.patch(path, json={"assignee_id": user_id}).json()["conversation"]
    assert taken["assignee"]["id"] == user_id


def test_connections_really_break(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    sandbox.add_fault(Fault("disconnect"))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/users")
    sandbox.add_fault(Fault("timeout"))
    with pytest.raises(httpx.ReadTimeout):
        client.get("/users", timeout=0.05)
    conversation_id = next(iter(sandbox.chat.conversations))
    sandbox.add_fault(Fault("lost_write"))
    with pytest.raises(httpx.RemoteProtocolError):
        client.patch(f"/conversations/{conversation_id}/assignment", json={"assignee_id": None})
    assert sandbox.chat.conversations[conversation_id].assignee_id is None
    assert client.get("/users").status_code == 200


def test_the_control_calls(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    control(client, "POST", "reset-stats")
    client.get("/users")
    stats = control(client, "GET", "stats").json()
    assert (stats["requests"], stats["by_endpoint"]["users"]) == (1, 1)
    truth = control(client, "GET", "truth").json()
    assert len(truth["conversations"]) == len(sandbox.chat.conversations)
    assert set(truth["messages"]) == {str(id_) for id_ in sandbox.chat.conversations}

    remaining = int(client.get("/users").headers["X-RateLimit-Remaining"])
    control(client, "POST", "spend", n=10)
    left = int(client.get("/users").headers["X-RateLimit-Remaining"])
    # Unless a new window of the clock has begun in between.
    assert left in (remaining - 11, 999)

    assert control(client, "POST", "fault", kind="503", times=None).status_code == 200
    assert client.get("/users").status_code == 503
    control(client, "DELETE", "faults")
    assert client.get("/users").status_code == 200


def test_changes_by_control_call(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    assert len(control(client, "POST", "change", n=5).json()["changes"]) == 5
    added = control(
        client, "POST", "change/add_conversation", channel="email", lead={"id": 5, "email": "a@b.c"}
    ).json()
    conversation_id = added["id"]
    shown = client.get(f"/conversations/{conversation_id}").json()["conversation"]
    assert (shown["channel"], shown["lead"]["email"]) == ("email", "a@b.c")
    arguments = {"conversation_id": conversation_id}
    for kind in ("escalate", "resolve", "add_message", "delete_conversation"):
        assert control(client, "POST", f"change/{kind}", **arguments).status_code == 200
    assert conversation_id in sandbox.chat.deleted
    for kind in ("resolve", "fly", "version"):
        assert control(client, "POST", f"change/{kind}", **arguments).status_code == 422
    assert control(client, "POST", "fault", kind="gremlins").status_code == 422
    assert control(client, "POST", "spend").status_code == 422


def test_the_command_serves_until_terminated() -> None:
    command = [*COMMAND, "--port", "0", "--conversations", "5", "--order", "asc", "--chat-id", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        exports = dict(
            line.removeprefix("  export ").strip().split("=", 1)
            for line, _ in zip(lines, range(8), strict=False)
            if line.startswith("  export ")
        )
        assert set(exports) == {"ZIPCHAT_BASE_URL", "ZIPCHAT_CHAT_ID", "ZIPCHAT_API_KEY"}
        response = httpx.get(
            f"{exports['ZIPCHAT_BASE_URL']}/chats/7/conversations",
            headers={"Authorization": f"Bearer {exports['ZIPCHAT_API_KEY']}"},
        )
        times = [row["last_message_at"] for row in response.json()["conversations"]]
        assert len(times) == 5
        assert times == sorted(times)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_taken_port_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--conversations", "1"]) == 2
    error = capsys.readouterr().err
    assert error == f"Cannot serve on 127.0.0.1:{port}: Address already in use.\n"


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--order", "newest"]])
def test_options_that_cannot_be_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
