"""The sandbox over HTTP: the API itself, and `/_sandbox/` to look behind it and to meddle.

The control calls need no key and do not count for the limit:

  GET    /_sandbox/stats, /_sandbox/truth
  POST   /_sandbox/reset-stats
  POST   /_sandbox/spend          {"n": 20}
  POST   /_sandbox/fault          {"kind": "503", "path": "/users", "times": 2}
  DELETE /_sandbox/faults
  POST   /_sandbox/change         {"n": 5}
  POST   /_sandbox/change/{kind}  the arguments of the method of `Chat` named `kind`, without `at`
  POST   /_sandbox/clock          {"offset": 90}
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from zipchat_dagster.sandbox.api import BASE_PATH, Fault, Sandbox
from zipchat_dagster.sandbox.data import Conversation, Escalation, Lead, Message

HOST = "127.0.0.1"
HANG_SECONDS = 300.0
CHANGES = frozenset(
    {
        "add_conversation",
        "add_message",
        "escalate",
        "resolve",
        "assign",
        "delete_newest_message",
        "delete_conversation",
        "restore_conversation",
        "remove_user",
    }
)


@contextmanager
def serve(sandbox: Sandbox, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 in a thread and give the API's base URL; port 0 takes a free one.

    Raises OSError when the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        build_app(sandbox),
        http=_Protocol,
        lifespan="off",
        log_level="critical",
        access_log=False,
        backlog=2048,
        # The sandbox's clock makes the Date header.
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the sandbox's server did not start")
            time.sleep(0.005)
        yield f"http://{HOST}:{listener.getsockname()[1]}{BASE_PATH}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def build_app(sandbox: Sandbox) -> ASGIApp:
    """The ASGI application of the API and its control calls."""
    control = _control(sandbox)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/_sandbox/"):
            await control(scope, receive, send)
        else:
            await _answer(sandbox, scope, receive, send)

    return app


class _Protocol(H11Protocol):
    """Hands the connection on to the application, which alone can then drop it unanswered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": transport}


async def _answer(sandbox: Sandbox, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    with sandbox.in_flight():
        answer = sandbox.handle(
            request.method,
            request.url.path,
            request.url.query,
            request.headers,
            await request.body(),
        )
        if answer.latency:
            await asyncio.sleep(answer.latency)
        if answer.drop is None:
            await Response(answer.body, answer.status, answer.headers)(scope, receive, send)
            return
    if answer.drop == "timeout":
        with suppress(TimeoutError):
            await asyncio.wait_for(_disconnected(receive), HANG_SECONDS)
    scope["state"]["connection"].close()
    # uvicorn would answer 500 for us if we returned before it has seen the end.
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _control(sandbox: Sandbox) -> Starlette:
    def stats(_: Request) -> Response:
        return JSONResponse(sandbox.stats())

    def truth(_: Request) -> Response:
        return JSONResponse(sandbox.truth())

    def reset_stats(_: Request) -> Response:
        sandbox.reset_stats()
        return JSONResponse({})

    def clear_faults(_: Request) -> Response:
        sandbox.clear_faults()
        return JSONResponse({})

    async def spend(request: Request) -> Response:
        sandbox.spend((await _arguments(request))["n"])
        return JSONResponse({})

    async def fault(request: Request) -> Response:
        sandbox.add_fault(Fault(**await _arguments(request)))
        return JSONResponse({})

    async def clock(request: Request) -> Response:
        sandbox.clock_offset = float((await _arguments(request))["offset"])
        return JSONResponse({"time": sandbox.server_time()})

    async def change(request: Request) -> Response:
        arguments = await _arguments(request)
        return JSONResponse({"changes": sandbox.change(arguments.get("n", 1))})

    async def change_one(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in CHANGES:
            raise ValueError(f"no change of that name; there are {sorted(CHANGES)}")
        arguments = await _arguments(request)
        if arguments.get("lead") is not None:
            arguments["lead"] = Lead(**arguments["lead"])
        with sandbox.lock:
            result = getattr(sandbox.chat, kind)(**arguments, at=sandbox.now())
        return JSONResponse(_plain(result))

    def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 422)

    return Starlette(
        routes=[
            Route("/_sandbox/stats", stats),
            Route("/_sandbox/truth", truth),
            Route("/_sandbox/reset-stats", reset_stats, methods=["POST"]),
            Route("/_sandbox/spend", spend, methods=["POST"]),
            Route("/_sandbox/fault", fault, methods=["POST"]),
            Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
            Route("/_sandbox/change", change, methods=["POST"]),
            Route("/_sandbox/change/{kind}", change_one, methods=["POST"]),
            Route("/_sandbox/clock", clock, methods=["POST"]),
        ],
        exception_handlers=dict.fromkeys((KeyError, TypeError, ValueError), refused),
    )


async def _arguments(request: Request) -> dict[str, Any]:
    parsed = await request.json() if await request.body() else {}
    if not isinstance(parsed, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - answered with 422
    return parsed


def _plain(result: object) -> dict[str, Any]:
    """What a change returned, as JSON: the id and the times."""
    match result:
        case Message() | Conversation():
            return {"id": result.id, "created_at": result.created_at.isoformat()}
        case Escalation():
            return {"escalated_at": result.escalated_at.isoformat()}
    return {}
