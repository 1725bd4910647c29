"""The error for each failure, retries, and that the key is never shown."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable

import httpx
import pytest

from zipchat_dagster.client import (
    ChatNotFoundError,
    MalformedAnswerError,
    RateLimitedError,
    ServerError,
    StatusError,
    UnauthorizedError,
    UnexpectedStatusError,
    UnprocessableError,
    UnreachableError,
    ZipchatClient,
    ZipchatError,
)
from zipchat_dagster.sandbox import Fault, serve
from zipchat_dagster_tests.client.support import KEY, NOW, Api, Clock, Script, a_chat, a_client

PASSING = ["500", "503", "timeout", "disconnect", "truncated", "not_json"]
USER = {"user": {"id": 1}}


@pytest.fixture
def api() -> Api:
    return Api()


# -- which error ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error_key", ["error", "message"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UnauthorizedError),
        (404, ChatNotFoundError),  # no call of the chat ever succeeded
        (422, UnprocessableError),
        (500, ServerError),
        (599, ServerError),
        (403, UnauthorizedError),
        (418, UnexpectedStatusError),
        (301, UnexpectedStatusError),
    ],
)
def test_each_status_has_its_error_with_the_api_s_own_words(
    status: int, error: type[StatusError], error_key: str
) -> None:
    script = Script(httpx.Response(status, json={error_key: "in its own words"}))
    with pytest.raises(error, match=f"the API answered {status} “in its own words”") as caught:
        a_client(script).get_user(1)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.api_message) == (status, "in its own words")
    path = "/chats/1/users" + ("" if status == 404 else "/1")
    assert (caught.value.method, caught.value.path) == ("GET", path)
    assert str(caught.value).startswith(f"GET {path}: ")


def test_a_wrong_key_is_named_as_what_to_check(api: Api) -> None:
    client = a_client(api.sandbox.transport(), api_key="zc-wrong")
    with pytest.raises(
        UnauthorizedError, match=r"“Missing or invalid API key”\. Check the API key:"
    ):
        client.get_user(1)
    assert api.requests == 1


def test_a_429_that_never_ends_fails_with_the_api_s_own_words() -> None:
    api = Api(limit=0)
    with pytest.raises(RateLimitedError, match="Other programs seem to use") as caught:
        api.client.get_user(1)
    assert caught.value.api_message == "Rate limit exceeded"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors": ["one", "two", 3]}', "one; two"),
        (b'{"error": {"message": "inner"}}', "inner"),
        (b'{"error": "half \\ud83d"}', "half �"),
        (b'{"error": ""}', None),
        (b'{"detail": "of a customer"}', None),
        (b'["of a customer"]', None),
        (b"<h1>of a customer</h1>", None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
    ids=range(9),
)
def test_only_an_error_object_of_the_api_is_quoted(body: bytes, words: str | None) -> None:
    with pytest.raises(UnprocessableError) as caught:
        a_client(Script(httpx.Response(422, content=body))).get_user(1)
    assert caught.value.api_message == words
    assert "customer" not in str(caught.value)


def test_long_words_are_cut() -> None:
    with pytest.raises(UnprocessableError) as caught:
        a_client(Script(httpx.Response(422, json={"error": "x" * 10_000}))).get_user(1)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"user": {"id": NaN}}',
        b'{"user": {"id": -Infinity}}',
        b'{"user": {"id": 1}',
        b'{"user": {"name": "\xff"}}',
        b"[" * 100_000,
        b"",
    ],
    ids=range(6),
)
def test_an_answer_that_is_not_strict_json_is_malformed_and_not_quoted(body: bytes) -> None:
    script = Script(httpx.Response(200, content=body, headers={"Content-Type": "text/html"}))
    with pytest.raises(MalformedAnswerError, match=r"not JSON \(text/html, \d+ bytes\)"):
        a_client(script).get_user(1)
    assert len(script.requests) == 5


def test_a_body_that_is_compressed_wrongly_is_malformed() -> None:
    class Wrong(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            headers = {"Content-Encoding": "gzip"}
            return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"no gzip"))

    with pytest.raises(MalformedAnswerError, match="compression"):
        a_client(Wrong()).get_user(1)


# -- what is retried -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PASSING)
def test_a_read_is_tried_up_to_five_times_with_growing_pauses(api: Api, kind: str) -> None:
    api.sandbox.add_fault(Fault(kind, times=4))  # type: ignore[arg-type]
    assert api.client.get_user(api.user_id)["id"] == api.user_id
    assert api.requests == 5
    # 0.05, 0.25, 1.25 and 6.25 seconds, each with up to half more.
    assert 7.8 <= sum(api.clock.slept) <= 11.7


@pytest.mark.parametrize("kind", PASSING)
def test_a_read_that_keeps_failing_fails_after_five_attempts(api: Api, kind: str) -> None:
    api.sandbox.add_fault(Fault(kind, times=None))  # type: ignore[arg-type]
    with pytest.raises((ServerError, UnreachableError, MalformedAnswerError)):
        api.client.get_user(api.user_id)
    assert api.requests == 5


@pytest.mark.parametrize("kind", PASSING)
def test_pages_that_fail_once_cost_a_listing_no_row(kind: str) -> None:
    api = Api(a_chat(300))
    ids: set[int] = set()
    for rows, _ in api.client.list_conversations():
        ids.update(row["id"] for row in rows)
        api.sandbox.add_fault(Fault(kind))  # type: ignore[arg-type]
    assert ids == set(api.chat.conversations)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 418, 422])
def test_a_permanent_status_is_not_retried(status: int) -> None:
    script = Script(httpx.Response(status))
    with pytest.raises(StatusError):
        a_client(script).get_user(1)
    assert len(script.requests) == 1 + (status == 404)  # is it the user or the chat?


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520])
def test_a_transient_status_is_retried(status: int) -> None:
    script = Script(httpx.Response(status), httpx.Response(status), USER)
    assert a_client(script).get_user(1) == {"id": 1}
    assert len(script.requests) == 3


def test_an_address_that_never_answered_is_tried_once_and_named_in_one_sentence() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and nobody listens
        clock = Clock()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = ZipchatClient(api_key=KEY, chat_id=1, base_url=address, clock=clock)
        with client, pytest.raises(UnreachableError) as caught:
            client.get_user(1)
    assert not caught.value.was_sent
    assert clock.slept == []
    assert "no answer from 127.0.0.1 (ConnectError" in str(caught.value)
    assert str(caught.value).endswith("Check the base URL and the network.")


def test_an_address_that_answered_before_is_retried() -> None:
    script = Script(USER, httpx.ConnectError("refused"), USER)
    client = a_client(script)
    client.get_user(1)
    client.get_user(1)
    assert len(script.requests) == 3


def test_a_retry_is_logged_in_one_line(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.sandbox.add_fault(Fault("500"))
    api.client.get_user(api.user_id)
    (record,) = [r for r in caplog.records if r.name == "zipchat_dagster"]
    assert record.levelno == logging.WARNING
    assert "answered 500 “Internal server error”. Retrying in" in record.message
    assert record.message.endswith("s (attempt 2 of 5).")


def test_a_client_that_is_closed_ends_its_pauses() -> None:
    class Closing(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            client.close()

    clock = Closing()
    client = a_client(Script(httpx.Response(503)), clock=clock)
    with pytest.raises(Exception, match="closed"):
        client.get_user(1)
    assert sum(clock.slept) <= 0.25


@pytest.mark.parametrize("kind", ["disconnect", "reset", "closed", "truncated"])
def test_over_a_real_connection_a_broken_one_is_replaced(api: Api, kind: str) -> None:
    api.sandbox.add_fault(Fault(kind, times=3))  # type: ignore[arg-type]
    with (
        serve(api.sandbox) as base_url,
        ZipchatClient(api_key=KEY, chat_id=1, base_url=base_url, clock=Clock()) as client,
    ):
        for user_id in list(api.chat.users)[:4]:
            assert client.get_user(user_id)["id"] == user_id
        # Whether a closed connection is noticed before the next request is a matter of luck.
        assert client.requests == 7 or kind == "closed"


def test_a_server_without_tls_gets_no_key() -> None:
    received = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        received.append(connection.recv(10_000))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=[listener])
        server.start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with (
            ZipchatClient(api_key=KEY, chat_id=1, base_url=address) as client,
            pytest.raises(UnreachableError, match="SSL") as caught,
        ):
            client.get_user(1)
        server.join()
    assert not caught.value.was_sent
    assert received
    assert KEY.encode() not in received[0]


# -- the key -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    elsewhere = {"Location": "https://elsewhere.example/users/1"}
    script = Script(httpx.Response(status, headers=elsewhere), USER)
    with pytest.raises(UnexpectedStatusError, match="Redirects are not followed"):
        a_client(script).get_user(1)
    assert [request.url.host for request in script.requests] == ["127.0.0.1"]


def shown(call: Callable[[], object]) -> str:
    """All that a failed call shows of itself."""
    try:
        call()
    except ZipchatError as error:
        return "\n".join([str(error), repr(error), traceback.format_exc(), repr(vars(error))])
    raise AssertionError("the call did not fail")


@pytest.mark.parametrize("kind", [*PASSING, None])
def test_the_key_is_in_no_error_repr_traceback_or_log(
    api: Api, kind: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    if kind:
        api.sandbox.add_fault(Fault(kind, times=None))  # type: ignore[arg-type]
    conversation_id = api.chat.add_conversation(at=NOW).id
    texts = [
        shown(lambda: api.client.get_user(4)),
        shown(lambda: api.client.get_conversation(4)),
        shown(lambda: api.client.hand_back(4)),
        shown(lambda: api.client.send_message(conversation_id, message="Secret", sender_id=4)),
        caplog.text,
        repr(api.client),
        repr(vars(api.client)),
    ]
    assert KEY not in "\n".join(texts)
    assert "Secret" not in caplog.text + texts[3].replace('message="Secret"', "")


def test_the_key_is_not_shown_when_the_api_repeats_it() -> None:
    script = Script(httpx.Response(401, json={"error": f"no such key: {KEY}"}))
    text = shown(lambda: a_client(script).get_user(1))
    assert KEY not in text
    assert "no such key: zc-…" in text
