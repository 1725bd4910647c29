"""The sandbox over HTTP: the API itself, and control calls to look inside and to interfere.

A control call is a request of any method for `/_sandbox/<name>`, with arguments as a JSON object in
its body. It needs no key, does not count for the rate limit, and answers with JSON. `<name>` is a
method of `Sandbox` (see CONTROLS) or, at the server's time, of its `Chat` (see CHANGES), such as

    curl localhost:8765/_sandbox/stats
    curl localhost:8765/_sandbox/set -d '{"total_error": 1, "latency": 0.5}'
    curl localhost:8765/_sandbox/add_fault -d '{"kind": "500", "conversation_id": 7, "times": null}'
    curl localhost:8765/_sandbox/delete_conversation -d '{"conversation_id": 7}'
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from asyncio import CancelledError, LimitOverrunError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http import HTTPStatus
from threading import Event, Thread
from typing import Any, Final, get_args

from zipchat_dagster.sandbox.api import Answer, Sandbox
from zipchat_dagster.sandbox.chat import ChangeKind, Lead
from zipchat_dagster.sandbox.faults import Fault
from zipchat_dagster.sandbox.routing import BASE_PATH, Json

HOST: Final = "127.0.0.1"
CONTROLS: Final = frozenset(
    {"stats", "truth", "reset_stats", "set", "spend", "add_fault", "clear_faults", "change"}
)
CHANGES: Final = frozenset({*get_args(ChangeKind), "remove_user"})
_CONTROL_PATH: Final = "/_sandbox/"
_CHATS_PATH: Final = f"{BASE_PATH}/chats/"


@contextmanager
def serve(*sandboxes: Sandbox, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 in a thread and yield the API's base URL; port 0 takes a free one.

    Several sandboxes are several chats, each with a key and a rate limit of its own. Control calls
    and requests for other chats go to the first.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.create_server((HOST, port), backlog=2048)
    chats = {str(sandbox.chat.chat_id): sandbox for sandbox in reversed(sandboxes)}
    stop = Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Clients may send nonsense or leave at any time. Those still connected at the end are
        # cancelled.
        with suppress(OSError, EOFError, ValueError, LimitOverrunError, CancelledError):
            while await _answer_one(sandboxes[0], chats, reader, writer):
                pass
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, sock=listener)
        await asyncio.to_thread(stop.wait)
        server.close()

    thread = Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}{BASE_PATH}"
    finally:
        stop.set()
        thread.join()


async def _answer_one(
    first: Sandbox,
    chats: Mapping[str, Sandbox],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bool:
    """Read one request and answer it. Returns whether the connection stays open.

    Plain HTTP/1.1 is enough here, and a server library could not leave a request unanswered.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (f.partition(":") for f in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    path, _, query = target.partition("?")
    if path.startswith(_CONTROL_PATH):
        answer = _control(first, path.removeprefix(_CONTROL_PATH), body)
    else:
        chat_id = path.removeprefix(_CHATS_PATH).partition("/")[0]
        sandbox = chats.get(chat_id, first)
        try:
            answer = sandbox.handle(method, path, query, headers, body)
        except Exception as error:  # a mistake of the sandbox's own, or of a test's hook
            answer = _json(500, {"error": f"the sandbox failed: {type(error).__name__}: {error}"})
        if answer.latency:
            await asyncio.sleep(answer.latency)
    if answer.drop == "timeout":
        await reader.read()  # until the client gives up
    if answer.drop in ("timeout", "disconnect"):
        return False
    sent = {**answer.headers, "Content-Length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {text}" for name, text in sent.items()]
    body = answer.body[: len(answer.body) // 2] if answer.drop == "reset" else answer.body
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()
    if answer.drop == "reset":
        # Closing then discards what was not sent yet, and resets the connection.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return answer.drop is None and headers.get("connection", "").lower() != "close"


def _control(sandbox: Sandbox, name: str, body: bytes) -> Answer:
    try:
        arguments = dict(json.loads(body or b"{}"))
        status, result = 200, _called(sandbox, name, arguments)
    except (KeyError, TypeError, ValueError) as error:
        status, result = 422, {"error": f"{type(error).__name__}: {error}"}
    return _json(status, result)


def _json(status: int, body: Any) -> Answer:
    return Answer(
        status, {"Content-Type": "application/json"}, json.dumps(body, default=str).encode()
    )


def _called(sandbox: Sandbox, name: str, arguments: Json) -> Any:
    if name == "add_fault":
        arguments = {"fault": Fault(**arguments)}
    if name in CONTROLS:
        return getattr(sandbox, name)(**arguments)
    if name not in CHANGES:
        raise ValueError(f"{name} is none of {sorted(CONTROLS | CHANGES)}")
    if arguments.get("lead") is not None:
        arguments["lead"] = Lead(**arguments["lead"])
    with sandbox.lock:
        record = getattr(sandbox.chat, name)(**arguments, at=sandbox.now())
    return None if record is None else asdict(record)
