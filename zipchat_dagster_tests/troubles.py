"""What can go wrong with a call, played between a client and the sandbox."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

import httpx

from zipchat_dagster.client import Clock
from zipchat_dagster.sandbox.routing import parse

HTML: Final = b"<html><body><h1>Back in a moment</h1></body></html>"
PAGED: Final = ("users", "list", "messages")
CALLS: Final = (*PAGED[:2], "show", "messages", "user", "assignment", "message")

Forward = Callable[[httpx.Request], httpx.Response]
Play = Callable[[httpx.Request, Forward, Clock], httpx.Response]


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble: what is answered, or raised, instead of the sandbox's own answer.

    Attributes:
        calls: the calls that it can happen to.
        from_first: whether it strikes a list's first page too, not only those after it.
        ends_run: whether it concerns all conversations, wherever it strikes.
    """

    name: str
    play: Play
    calls: tuple[str, ...] = CALLS
    from_first: bool = False
    ends_run: bool = False


class Troubled(httpx.BaseTransport):
    """The sandbox, with trouble at some calls. `hosts` has every host that a request went to."""

    def __init__(self, sandbox: httpx.BaseTransport, clock: Clock) -> None:
        self.hosts: set[str] = set()
        self.strikes: dict[tuple[str, int | None], Strike] = {}
        self._sandbox = sandbox
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        strike = self.strikes.get(call_of(request))
        if strike is None or not strike.is_due():
            return self._sandbox.handle_request(request)
        return strike.trouble.play(request, self._sandbox.handle_request, self._clock)


@dataclass
class Strike:
    """A trouble at the next `times` requests (None: at all) after the first `spared` ones."""

    trouble: Trouble
    times: int | None = None
    spared: int = 0

    def is_due(self) -> bool:
        """Whether it strikes this request. Counts it."""
        if self.spared:
            self.spared -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return self.times is None or self.times >= 0


def call_of(request: httpx.Request) -> tuple[str, int | None]:
    """Which of CALLS a request is, and about which conversation. `messages`: the message pages of a
    conversation after its first one, which comes with `show`."""
    found = parse(request.method, request.url.path, request.url.query.decode(), {}, b"")
    is_first = found.query.get("message_page", "1") == "1"
    call = "messages" if found.endpoint == "show" and not is_first else str(found.endpoint)
    return call, found.conversation_id


def raised(error: Exception) -> Play:
    """No answer; the request never arrives."""

    def play(_request: httpx.Request, _forward: Forward, _clock: Clock) -> httpx.Response:
        raise error

    return play


def in_turn(*plays: Play) -> Play:
    """One after the other, again and again."""
    turns = itertools.cycle(plays)

    def play(request: httpx.Request, forward: Forward, clock: Clock) -> httpx.Response:
        return next(turns)(request, forward, clock)

    return play


def lost(error: Exception) -> Play:
    """The request arrives and is carried out, and then no answer comes."""

    def play(request: httpx.Request, forward: Forward, _clock: Clock) -> httpx.Response:
        forward(request)
        raise error

    return play


def answered(status: int, content: bytes = HTML, **headers: str) -> Play:
    """Another answer; nothing is carried out."""

    def play(_request: httpx.Request, _forward: Forward, clock: Clock) -> httpx.Response:
        date = formatdate(clock.time(), usegmt=True)
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.Response(
            status, headers={"Date": date, "Content-Type": "text/html", **names}, content=content
        )

    return play


def garbled(change: Callable[[bytes], bytes]) -> Play:
    """The request is carried out, and the answer's body arrives changed."""

    def play(request: httpx.Request, forward: Forward, _clock: Clock) -> httpx.Response:
        answer = forward(request)
        headers = {"Date": answer.headers["Date"]}
        return httpx.Response(answer.status_code, headers=headers, content=change(answer.content))

    return play


def altered(change: Callable[[Any], Any]) -> Play:
    """Like `garbled`, for the decoded JSON."""
    return garbled(lambda content: json.dumps(change(json.loads(content))).encode())


def streamed(pieces: Callable[[bytes, Clock], Iterator[bytes]]) -> Play:
    """The request is carried out, and the answer's body arrives in pieces."""

    def play(request: httpx.Request, forward: Forward, clock: Clock) -> httpx.Response:
        answer = forward(request)
        body = pieces(answer.content, clock)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Pieces(body))

    return play


class _Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def _drip(content: bytes, _clock: Clock) -> Iterator[bytes]:
    """What the client's `Network` makes of it (client/test_network.py)."""
    yield content[: len(content) // 2]
    raise httpx.ReadTimeout("the answer took too long to arrive")


def _broken_off(content: bytes, _clock: Clock) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise httpx.ReadError("[Errno 104] Connection reset by peer")


def _cut_short(content: bytes, _clock: Clock) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def _retry_on_a_date(request: httpx.Request, forward: Forward, clock: Clock) -> httpx.Response:
    at = formatdate(clock.time() + 7, usegmt=True)
    return answered(429, Retry_After=at)(request, forward, clock)


def _first_page_again(request: httpx.Request, forward: Forward, _clock: Clock) -> httpx.Response:
    pages = {name: "1" for name in ("page", "message_page") if name in request.url.params}
    return forward(
        httpx.Request(request.method, request.url.copy_merge_params(pages), headers=request.headers)
    )


def _nothing_in_it(body: Any) -> Any:
    """`null` where records are due."""
    names = ("conversations", "users", "user", "message", "conversation")
    return {name: None if name in names else value for name, value in body.items()}


def _total_off_by(rows: int) -> Play:
    def change(body: Any) -> Any:
        body["meta"]["total_count"] += rows
        return body

    return altered(change)


_REDIRECT: Final = "/api/integrations/backend_api/v2/elsewhere"
TROUBLES: Final = (
    Trouble(
        "no connection: refused, too slow, DNS or TLS",
        in_turn(
            raised(httpx.ConnectError("[Errno 111] Connection refused")),
            raised(httpx.ConnectTimeout("timed out")),
            raised(httpx.ConnectError("[Errno -2] Name or service not known")),
            raised(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")),
        ),
    ),
    Trouble("connection reset before the request arrives", raised(httpx.WriteError("reset"))),
    Trouble("no answer in time", lost(httpx.ReadTimeout("The read operation timed out"))),
    Trouble("an answer that drips", streamed(_drip)),
    Trouble(
        "connection closed before the answer",
        lost(httpx.RemoteProtocolError("Server disconnected without sending a response.")),
    ),
    Trouble("connection reset in the answer", streamed(_broken_off)),
    Trouble("body shorter than announced", streamed(_cut_short)),
    Trouble("JSON cut short", garbled(lambda content: content[: len(content) // 2])),
    Trouble("HTML instead of JSON", garbled(lambda _: HTML)),
    Trouble("empty body", garbled(lambda _: b"")),
    Trouble("`null` as the whole body", garbled(lambda _: b"null")),
    Trouble("`null` where records are due", altered(_nothing_in_it)),
    Trouble("302 to another page of the API", answered(302, Location=_REDIRECT)),
    Trouble("302 to another origin", answered(302, Location="https://elsewhere.example/steal")),
    Trouble(
        "401, key revoked",
        answered(401, b'{"error": "Missing or invalid API key"}'),
        ends_run=True,
    ),
    Trouble("403", answered(403), ends_run=True),
    Trouble("404", answered(404, b'{"error": "Not found"}')),
    Trouble("422", answered(422, b'{"error": "Unprocessable"}')),
    Trouble("429", answered(429), ends_run=True),
    Trouble("429, `Retry-After` in seconds", answered(429, Retry_After="7"), ends_run=True),
    Trouble("429, `Retry-After` as a date", _retry_on_a_date, ends_run=True),
    Trouble("500, 502, 503 or 504 with HTML", in_turn(*map(answered, (500, 502, 503, 504)))),
    Trouble("a page that repeats", _first_page_again, calls=PAGED),
    Trouble("a total that is too high", _total_off_by(1), calls=PAGED[:2], from_first=True),
    Trouble("a total that is too low", _total_off_by(-1), calls=PAGED[:2], from_first=True),
)
