"""`python -m zipchat_dagster.sandbox`: serve an invented chat until stopped."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event
from typing import get_args

from zipchat_dagster.sandbox import api
from zipchat_dagster.sandbox.api import DEFAULT_KEY, Sandbox
from zipchat_dagster.sandbox.data import generate
from zipchat_dagster.sandbox.server import HOST, serve

CANNOT_SERVE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 when the port is taken."""
    options = _parser().parse_args(arguments)
    sandbox = _sandbox(options)
    try:
        with _stop_signals() as stop, serve(sandbox, options.port) as base_url:
            print(_note(sandbox, base_url), flush=True)
            stop.wait()
    except OSError as error:
        print(f"Cannot serve on {HOST}:{options.port}: {error.strerror}.", file=sys.stderr)
        return CANNOT_SERVE
    return 0


@contextmanager
def _stop_signals() -> Iterator[Event]:
    """An event that SIGTERM and SIGINT set, so that the server can stop cleanly."""
    stop = Event()
    former = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _sandbox(options: argparse.Namespace) -> Sandbox:
    chat = generate(
        seed=options.seed,
        conversations=options.conversations,
        days=options.days,
        now=datetime.fromtimestamp(datetime.now(UTC).timestamp() + options.clock_offset, UTC),
        chat_id=options.chat_id,
        max_messages=options.max_messages,
    )
    return Sandbox(
        chat=chat,
        key=options.key,
        order=options.order,
        shuffle_ties=options.shuffle_ties,
        message_order=options.message_order,
        pagination=options.pagination,
        limit=options.limit or None,
        window=options.window,
        window_alignment=options.window_alignment,
        reset_rounding=options.reset_rounding,
        latency=options.latency,
        fault_rate=options.fault_rate,
        mutate_every=options.mutate_every,
        clock_offset=options.clock_offset,
        id_type=options.id_type,
        largest_page=options.largest_page,
        total_error=options.total_error,
        totals_ignore_since=options.totals_ignore_since,
        seed=options.seed,
    )


def _note(sandbox: Sandbox, base_url: str) -> str:
    return f"""\
The Zipchat Backend API, played locally, with {len(sandbox.chat.conversations)} conversations.
Base URL: {base_url}
Chat id:  {sandbox.chat.chat_id}
Key:      {sandbox.key}

  export ZIPCHAT_BASE_URL={base_url}
  export ZIPCHAT_CHAT_ID={sandbox.chat.chat_id}
  export ZIPCHAT_API_KEY={sandbox.key}

Stop it with Ctrl-C."""


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is between 0 and 65535")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zipchat_dagster.sandbox",
        description="Play the Zipchat Backend API locally, with an invented chat.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=_port, default=8765, help="port on 127.0.0.1; 0 takes a free one")
    add("--key", default=DEFAULT_KEY, help="the API key to accept")
    add("--chat-id", type=int, default=1, help="the chat's id")

    data = parser.add_argument_group("the chat").add_argument
    data("--seed", type=int, default=1, help="the same seed gives the same chat")
    data("--conversations", type=int, default=300, help="how many conversations")
    data("--days", type=int, default=30, help="how many days back they start")
    data("--max-messages", type=int, help="at most so many messages per conversation")
    data("--mutate-every", type=int, default=0, help="a random change every n requests; 0: never")

    limit = parser.add_argument_group("the rate limit").add_argument
    limit("--limit", type=int, default=120, help="requests per window; 0: no limit")
    limit("--window", type=float, default=60, help="seconds per window")
    limit(
        "--window-alignment",
        choices=get_args(api.WindowAlignment),
        default="clock",
        help="what starts a window",
    )
    limit(
        "--reset-rounding",
        choices=get_args(api.ResetRounding),
        default="ceil",
        help="of X-RateLimit-Reset to whole seconds",
    )

    answers = parser.add_argument_group("the answers").add_argument
    answers(
        "--order",
        choices=get_args(api.Order),
        default="desc",
        help="of the list: newest activity first, oldest first, by id",
    )
    answers(
        "--shuffle-ties", action="store_true", help="equal times come in another order each time"
    )
    answers(
        "--message-order",
        choices=get_args(api.MessageOrder),
        default="asc",
        help="of a conversation's messages, by time",
    )
    answers(
        "--pagination",
        choices=get_args(api.Pagination),
        default="none",
        help="what a page says about the others",
    )
    answers(
        "--id-type",
        choices=get_args(api.IdType),
        default="int",
        help="ids as numbers or as strings of digits",
    )
    answers("--largest-page", type=int, help="records on one page at most, whatever is asked for")
    answers("--total-error", type=int, default=0, help="by how much every stated total is off")
    answers(
        "--totals-ignore-since",
        action="store_true",
        help="totals count all records, whatever since when is asked for",
    )

    trouble = parser.add_argument_group("trouble").add_argument
    trouble("--latency", type=float, default=0.0, help="seconds before each answer")
    trouble("--fault-rate", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    trouble("--clock-offset", type=float, default=0.0, help="seconds the server's clock is ahead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
