"""`python -m zipchat_dagster.sandbox`: serve an invented chat until stopped."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zipchat_dagster.sandbox.api import DEFAULT_KEY, Sandbox
from zipchat_dagster.sandbox.faults import Fault
from zipchat_dagster.sandbox.invent import generate
from zipchat_dagster.sandbox.options import GROUPS, OPTIONS
from zipchat_dagster.sandbox.server import HOST, serve

CANNOT_SERVE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 when the port is taken."""
    options = _parser().parse_args(arguments)
    sandbox = _sandbox(options)
    try:
        with serve(sandbox, port=options.port) as base_url:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
            print(_note(sandbox, base_url), flush=True)
            Event().wait()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        print(f"Cannot serve on {HOST}:{options.port}: {reason}.", file=sys.stderr)
    return CANNOT_SERVE


def _sandbox(options: argparse.Namespace) -> Sandbox:
    chat = generate(
        seed=options.seed,
        conversations=options.conversations,
        days=options.days,
        now=datetime.now(UTC) + timedelta(seconds=options.clock_offset),
        chat_id=options.chat_id,
        max_messages=options.max_messages,
    )
    given = {name: getattr(options, name) for name in OPTIONS}
    return Sandbox(
        chat=chat,
        key=options.key,
        faults=options.fault,
        seed=options.seed,
        **{**given, "limit": options.limit or None},
    )


def _note(sandbox: Sandbox, base_url: str) -> str:
    return f"""\
The Zipchat Backend API, served locally, with {len(sandbox.chat.conversations)} conversations.
Base URL: {base_url}
Chat id:  {sandbox.chat.chat_id}
Key:      {sandbox.key}

  export ZIPCHAT_BASE_URL={base_url}
  export ZIPCHAT_CHAT_ID={sandbox.chat.chat_id}
  export ZIPCHAT_API_KEY={sandbox.key}
  export ZIPCHAT_DATABASE=data/sandbox_server.duckdb  # keeps invented data out of your own

Stop it with Ctrl-C."""


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is between 0 and 65535")
    return port


def _fault(text: str) -> Fault:
    try:
        return Fault(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zipchat_dagster.sandbox",
        description="Serve the Zipchat Backend API locally, with an invented chat.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=_port, default=8765, help="port on 127.0.0.1; 0 takes a free one")
    add("--key", default=DEFAULT_KEY, help="the API key to accept")
    add("--chat-id", type=int, default=1, help="the chat's id")

    add = parser.add_argument_group("the chat").add_argument
    add("--seed", type=int, default=1, help="the same seed gives the same chat")
    add("--conversations", type=int, default=300, help="how many conversations")
    add("--days", type=int, default=30, help="how many days ago the first may begin")
    add("--max-messages", type=int, help="most messages of a conversation")

    for group in GROUPS:
        add = parser.add_argument_group(group.__doc__).add_argument
        for name, hint in get_type_hints(group, include_extras=True).items():
            kind, *_, text = get_args(hint)
            text += "; 0: no limit" if name == "limit" else ""
            flag = f"--{name.replace('_', '-')}"
            add(flag, default=getattr(group, name), help=text, **_parsing(kind))
    fault = 'a fault as JSON, such as {"kind": "403", "after": 100, "times": null}; repeatable'
    parser.add_argument("--fault", type=_fault, action="append", default=[], help=fault)
    return parser


def _parsing(kind: Any) -> dict[str, Any]:
    """How argparse reads an option of this type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is tuple:
        return {"nargs": "+", **_parsing(get_args(kind)[0])}
    if NoneType in get_args(kind):
        return _parsing(get_args(kind)[0])
    return {"type": kind}


if __name__ == "__main__":
    sys.exit(main())
