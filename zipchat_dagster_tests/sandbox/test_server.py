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

from zipchat_dagster.sandbox import Chat, Fault, Request, Sandbox, generate, serve
from zipchat_dagster.sandbox.__main__ import _parser, _sandbox, main
from zipchat_dagster.sandbox.options import OPTIONS, Options

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


def control(client: httpx.Client, name: str, **arguments: object) -> httpx.Response:
    return client.post(client.base_url.copy_with(path=f"/_sandbox/{name}"), json=arguments)


def test_the_server_answers_like_the_transport_without_sockets(
    served: tuple[Sandbox, httpx.Client],
) -> None:
    sandbox, client = served
    response = client.get("/conversations", params={"per_page": 3, "page": 2})
    other = httpx.Client(transport=sandbox.transport()).get(
        str(response.request.url), headers=client.headers
    )
    assert response.json() == other.json()
    assert response.headers["X-RateLimit-Limit"] == "1000"
    assert "server" not in response.headers
    assert client.get("/users/1").status_code == 404


def test_the_only_date_header_is_the_sandboxs(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    control(client, "set", clock_offset=86_400)
    dates = client.get("/users").headers.get_list("date")
    assert len(dates) == 1
    assert abs(sandbox.server_time() - datetime.now(UTC).timestamp() - 86_400) < 10
    assert f"{sandbox.now():%d %b %Y}" in dates[0]
    control(client, "set", clock_offset=0)


def test_a_failure_of_the_sandbox_is_answered_with_its_cause(
    served: tuple[Sandbox, httpx.Client],
) -> None:
    sandbox, client = served

    def fail(sandbox: Sandbox, request: Request) -> None:
        raise ValueError("no such hook")

    sandbox.before_request = fail
    answer = client.get("/users")
    sandbox.before_request = None
    assert answer.status_code == 500
    assert answer.json() == {"error": "the sandbox failed: ValueError: no such hook"}
    assert client.get("/users").status_code == 200


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
    sandbox.add_fault(Fault("reset"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get("/users")
    sandbox.add_fault(Fault("closed"))
    assert "users" in client.get("/users").json()
    # On a connection of its own: the client may not have noticed yet that the other is closed.
    sandbox.add_fault(Fault("timeout"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{client.base_url}users", headers=client.headers, timeout=0.05)
    conversation_id = next(iter(sandbox.chat.conversations))
    sandbox.add_fault(Fault("lost_write"))
    with pytest.raises(httpx.RemoteProtocolError):
        client.patch(f"/conversations/{conversation_id}/assignment", json={"assignee_id": None})
    assert sandbox.chat.conversations[conversation_id].assignee_id is None
    assert client.get("/users").status_code == 200


def test_control_calls_look_inside_and_interfere(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    control(client, "reset_stats")
    client.get("/users")
    stats = control(client, "stats").json()
    assert (stats["requests"], stats["by_endpoint"]["users"]) == (1, 1)
    truth = control(client, "truth").json()
    assert len(truth["conversations"]) == len(sandbox.chat.conversations)

    control(client, "set", window_alignment="first_request", window=1e9)
    control(client, "spend", requests=10)
    assert int(client.get("/users").headers["X-RateLimit-Remaining"]) < 1000 - 10

    control(client, "add_fault", kind="503", times=None)
    assert client.get("/users").status_code == 503
    control(client, "clear_faults")
    assert client.get("/users").status_code == 200


def test_control_calls_change_the_chat(served: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, client = served
    assert len(control(client, "change", count=5).json()) == 5
    lead = {"id": 5, "email": "a@b.c"}
    conversation_id = control(client, "add_conversation", channel="email", lead=lead).json()["id"]
    shown = client.get(f"/conversations/{conversation_id}").json()["conversation"]
    assert (shown["channel"], shown["lead"]["email"]) == ("email", "a@b.c")
    arguments = {"conversation_id": conversation_id}
    for name in ("escalate", "resolve", "add_message", "delete_newest_message"):
        assert control(client, name, **arguments).status_code == 200
    assert control(client, "delete_conversation", **arguments).json() is None
    assert conversation_id in sandbox.chat.deleted


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("escalate", {"conversation_id": 1}),
        ("fly", {}),
        ("version", {}),
        ("handle", {"method": "GET", "path": "/"}),
        ("spend", {}),
        ("add_fault", {"kind": "gremlins"}),
        ("set", {"order": "newest"}),
        ("set", {"chat": None}),
        ("set", {"order": "asc", "fly": True}),
        ("set", {"window": "long"}),
        ("set", {"mutate_kinds": 5}),
        ("set", {"mutate_kinds": []}),
    ],
)
def test_impossible_control_calls_are_refused(
    served: tuple[Sandbox, httpx.Client], name: str, arguments: dict[str, object]
) -> None:
    sandbox, client = served
    before = {name: getattr(sandbox, name) for name in OPTIONS}
    assert control(client, name, **arguments).status_code == 422
    assert {name: getattr(sandbox, name) for name in OPTIONS} == before


@pytest.mark.parametrize("body", ["[1]", "5", '"fly"', "{"])
def test_arguments_that_are_no_object_are_refused(
    served: tuple[Sandbox, httpx.Client], body: str
) -> None:
    _, client = served
    for name in ("escalate", "set", "add_fault"):
        url = client.base_url.copy_with(path=f"/_sandbox/{name}")
        assert client.post(url, content=body).status_code == 422


def test_nonsense_ends_the_connection_and_nothing_else(
    served: tuple[Sandbox, httpx.Client],
) -> None:
    _, client = served
    address = (client.base_url.host, client.base_url.port or 0)
    for nonsense in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(nonsense)
            assert connection.recv(100) == b""
    assert client.get("/users").status_code == 200


def test_several_chats_have_a_key_and_a_limit_each() -> None:
    one, two = (
        Sandbox(chat=Chat(chat_id=number), key=f"zc-{number}", limit=number) for number in (1, 2)
    )
    with serve(one, two) as base_url, httpx.Client() as client:

        def status(chat_id: int, key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return client.get(f"{base_url}/chats/{chat_id}/users", headers=headers).status_code

        assert [status(1, "zc-1"), status(1, "zc-1")] == [200, 429]
        assert [status(2, "zc-2"), status(2, "zc-1"), status(2, "zc-2")] == [200, 401, 429]
        assert (one.stats()["requests"], two.stats()["requests"]) == (2, 3)


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


def test_the_command_has_every_option() -> None:
    sandbox = _sandbox(_parser().parse_args(["--conversations", "1"]))
    assert all(getattr(sandbox, name) == getattr(Options, name) for name in OPTIONS)
    flags = ["--limit", "0", "--no-wrap", "--clock-offset", "-3.5", "--fault-kinds", "slow", "500"]
    flags += ["--id-type", "str", "--largest-page", "50", "--fault", '{"kind": "403", "after": 9}']
    sandbox = _sandbox(_parser().parse_args(["--conversations", "1", *flags]))
    assert (sandbox.limit, sandbox.wrap, sandbox.clock_offset) == (None, False, -3.5)
    assert (sandbox.id_type, sandbox.largest_page) == ("str", 50)
    assert list(sandbox.fault_kinds) == ["slow", "500"]
    assert sandbox.faults == [Fault("403", after=9)]


def test_a_taken_port_is_reported_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--conversations", "1"]) == 2
    error = capsys.readouterr().err
    assert error == f"Cannot serve on 127.0.0.1:{port}: Address already in use.\n"


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--order", "newest"], ["--fault", "{}"], ["--fault", "500"]]
)
def test_impossible_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
