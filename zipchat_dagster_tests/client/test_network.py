"""The network: an answer must be complete in time, however it arrives."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from zipchat_dagster.client import UnreachableError, ZipchatClient
from zipchat_dagster.client.network import Network
from zipchat_dagster_tests.client.support import KEY, Clock

TIMEOUT = 0.1  # seconds; the whole answer may take three times as long
PAUSE = TIMEOUT / 4  # between two bytes, so that no single read takes too long

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n"


@contextmanager
def dripping(at_once: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers with these bytes, and then one at a time, for five seconds or as long
    as somebody reads them. The event is set if nobody does."""
    gave_up = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(10_000)
            connection.sendall(at_once)
            try:
                for _ in range(200):
                    connection.sendall(b"a")
                    time.sleep(PAUSE)
            except OSError:
                gave_up.set()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", gave_up
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("at_once", [b"", HEADERS[:40], HEADERS], ids=["status", "headers", "body"])
def test_an_answer_that_drips_ends_in_a_time_out_and_its_connection_is_closed(
    at_once: bytes,
) -> None:
    with dripping(at_once) as (address, gave_up), Network(address) as network:
        request = httpx.Request("GET", address, extensions={"timeout": {"read": TIMEOUT}})
        with pytest.raises(httpx.ReadTimeout, match="too long"):
            network.handle_request(request).read()
        assert gave_up.wait(10)


def test_a_call_with_an_answer_that_drips_is_retried_and_then_named() -> None:
    with (
        dripping(HEADERS) as (address, _),
        ZipchatClient(
            api_key=KEY, chat_id=1, base_url=address, clock=Clock(), timeout=TIMEOUT
        ) as client,
        pytest.raises(UnreachableError, match="the answer took too long to arrive") as caught,
    ):
        client.get_user(1)
    assert caught.value.was_sent
    assert client.requests == 5
