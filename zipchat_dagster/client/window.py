"""The state of one rate-limit window: whether one more call fits, and when the window ends.

Pure state: no clock, no file, no thread. `budget.py` shares one `Window` between processes.

Every response states the limit, how much of it remains, and when the window resets
(X-RateLimit-Limit, -Remaining and -Reset; `docs/api.md`). One idea covers all servers: **wait for
the latest moment at which the window can end**. An end that is assumed too late costs a second or
two; one that is assumed too early costs a 429.

- Once the window is over, one call goes ahead alone. Its response says what other programs have
  spent already. Then the rest may follow.
- Every response bounds the end from above, and the smallest bound counts (`_stated`).
- Without headers, the calls of the last minute are counted instead (`recent`).

There are two clocks, both in Unix seconds: "server" is the API's, "local" the one that all users of
the state share, which is this machine's or that of the database in which the state is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

DOCUMENTED_LIMIT = 120
DOCUMENTED_LENGTH = 60  # seconds
POLL = 0.01  # seconds between looks while responses are outstanding
GRACE = 0.02  # seconds added to a window's end: the server's timer is no finer than ours
DRIFT = 2e-4  # seconds by which two clocks may drift apart in a second
IN_TRANSIT = 5.0  # seconds; a call sent that long before a window starts does not arrive in it
PROBE_PATIENCE = 10.0  # seconds without a response; then another call goes ahead
LONGEST_LENGTH = 3600  # seconds; a reset further ahead is not believed
RELEASE = 0.1  # the last part of a window, in which the reserve may be spent
UNIX_TIMES_FROM = 1_000_000_000  # a smaller reset is a number of seconds from now
MILLISECONDS_FROM = 100_000_000_000
TOO_MANY_REQUESTS = 429
# Seconds after which a permit belongs to a process that died. The client's time-outs (30 s each to
# connect and to send, 90 s for an answer) end a call by then. A killed process's permits are
# missing until then or until the next window, whichever is first.
PERMIT_LIFETIME = 150.0


@dataclass(frozen=True)
class Answer:
    """What one response says about the window."""

    sent_at: float  # local
    received_at: float  # local
    status: int | None = None  # None: no response came
    date: float | None = None  # server, cut to whole seconds
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None  # server, or seconds from when the call arrived
    retry_after: float | None = None  # seconds

    def shifted(self, seconds: float) -> Answer:
        """The same by a clock that is ahead by so many seconds."""
        if not seconds:
            return self
        sent_at, received_at = self.sent_at + seconds, self.received_at + seconds
        return replace(self, sent_at=sent_at, received_at=received_at)


class _Stated(NamedTuple):
    """What the headers of one response say of its window."""

    reset: float  # identifies the window
    tolerance: float  # seconds by which `reset` may differ within one
    spent: int
    left: float  # seconds, at most, from receiving the response to the window's end


@dataclass
class Window:
    """The state of one key's budget. Only `decide` and `settle` change it."""

    limit: int = DOCUMENTED_LIMIT
    length: float = DOCUMENTED_LENGTH  # seconds; what was left of the window when it was found
    spent: int = 0
    over_at: float = 0.0  # local: the window is certainly over; nothing is known after that
    reset: float = 0.0  # as stated, to tell windows apart; local if it was in seconds from now
    offset: float | None = None  # seconds: the server's clock minus ours, at least
    heard_at: float = 0.0  # local: the latest response
    recent: list[float] = field(default_factory=list)  # local: responses without headers
    permits: dict[str, float] = field(default_factory=dict)  # not settled yet: id → local time

    def decide(self, permit: str, *, now: float, reserve: float) -> float:
        """Grant `permit` (0.0), or return the seconds to wait before asking again.

        `now` is local. `reserve` is the fraction of the window that this caller leaves to others.
        In the last tenth of the window it is released, since unspent budget is lost.
        """
        self._tidy(now)
        self.permits.pop(permit, None)  # granted already, but the connection was lost meanwhile
        if now >= self.over_at:
            ahead = max(self.permits.values(), default=-math.inf)
            return POLL if now - ahead < PROBE_PATIENCE else self._grant(permit, now)
        spent, over_at = self.spent, self.over_at
        if self.recent:
            spent, over_at = len(self.recent), self.recent[0] + DOCUMENTED_LENGTH + GRACE
        release_at = over_at - RELEASE * self.length
        reserved = min(math.ceil(self.limit * reserve), self.limit - 1) if now < release_at else 0
        room = self.limit - reserved - spent
        if room > len(self.permits):
            return self._grant(permit, now)
        if room > 0:
            return POLL  # calls under way may have been counted in `spent` already
        wait = (release_at if reserved and spent < self.limit else over_at) - now
        return max(wait, POLL)

    def settle(self, permit: str, answer: Answer) -> None:
        """Take a permit back, with what its response says."""
        self.permits.pop(permit, None)
        if answer.received_at < answer.sent_at:
            return  # our clock was set back meanwhile
        self._learn_offset(answer)
        self.limit = answer.limit or self.limit
        stated = self._stated(answer)
        if stated is None:
            self._count(answer)
        else:
            if answer.sent_at >= self.over_at or stated.reset > self.reset + stated.tolerance:
                self._begin(answer, stated)
            elif stated.reset < self.reset - stated.tolerance:
                return  # a late response, from a window that is over
            self.recent = []
            self.spent = max(self.spent, stated.spent)
            self.over_at = min(self.over_at, answer.received_at + stated.left + GRACE)
        if answer.status == TOO_MANY_REQUESTS:
            self._refuse(answer)

    def _tidy(self, now: float) -> None:
        if now < self.heard_at - IN_TRANSIT:
            # Our clock was set back, so the local times in here mean nothing any more.
            self.over_at, self.heard_at, self.offset = 0.0, now, None
            self.recent, self.permits = [], {}
        self.permits = {p: at for p, at in self.permits.items() if now - at < PERMIT_LIFETIME}
        self.recent = [at for at in self.recent if now - at < DOCUMENTED_LENGTH + GRACE]

    def _grant(self, permit: str, now: float) -> float:
        self.permits[permit] = now
        return 0.0

    def _learn_offset(self, answer: Answer) -> None:
        """The server's time was in [date, date + 1) at some time between sending and receiving."""
        if answer.date is not None:
            low, high = answer.date - answer.received_at, answer.date + 1 - answer.sent_at
            if self.offset is None or self.offset > high:  # or one of the clocks was set
                self.offset = low
            else:
                drift = DRIFT * max(0.0, answer.received_at - self.heard_at)
                self.offset = max(self.offset - drift, low)
        self.heard_at = max(self.heard_at, answer.received_at)

    def _stated(self, answer: Answer) -> _Stated | None:
        """What the headers say. None: they are missing or make no sense."""
        reset = answer.reset
        if reset is None or reset < 0 or answer.remaining is None:
            return None
        spent = max(0, self.limit - answer.remaining)
        reset = reset / 1000 if reset >= MILLISECONDS_FROM else reset
        rounding = 0 if reset % 1 else 1  # a whole number may have been rounded down
        tolerance = 0.5
        if reset < UNIX_TIMES_FROM:
            left = reset + rounding
            # It varies with the rounding and with the time that calls take to arrive.
            reset, tolerance = answer.sent_at + reset, 1.5
        elif self.offset is None or answer.date is None:
            left = DOCUMENTED_LENGTH  # counted from the first response, which is late enough
        elif spent <= 1:
            # This call opened the window. Windows last whole seconds, so date and reset were cut
            # alike, or the reset was rounded up. Windows of the clock end at whole seconds anyway.
            left = reset - answer.date
        else:
            left = reset + rounding - self.offset - answer.received_at
        if self.length <= DOCUMENTED_LENGTH < left < DOCUMENTED_LENGTH + IN_TRANSIT:
            left = DOCUMENTED_LENGTH  # the rest is rounding
        took = answer.received_at - answer.sent_at  # the window may have ended meanwhile
        is_credible = -took - 1 <= left <= LONGEST_LENGTH
        return _Stated(reset, tolerance, spent, left) if is_credible else None

    def _begin(self, answer: Answer, stated: _Stated) -> None:
        """This is the first response of a window."""
        self.reset, self.spent = stated.reset, 0
        self.over_at = math.inf
        self.length = max(1.0, stated.left)
        # What was sent long before has arrived in an earlier window, or its process died.
        sent_after = answer.sent_at - IN_TRANSIT
        self.permits = {p: at for p, at in self.permits.items() if at >= sent_after}

    def _count(self, answer: Answer) -> None:
        """A response without headers, or none at all."""
        if self.recent or (answer.status is not None and answer.received_at >= self.over_at):
            self.recent.append(answer.received_at)
            self.over_at = answer.received_at + DOCUMENTED_LENGTH + GRACE
        else:
            self.spent += 1

    def _refuse(self, answer: Answer) -> None:
        """Other programs spent the window. Nothing is sent until it is over."""
        self.spent = max(self.spent, self.limit)
        if self.recent or self.over_at <= answer.received_at:  # and nothing says when that is
            self.recent = []
            pause = answer.retry_after or DOCUMENTED_LENGTH
            self.over_at = answer.received_at + min(pause, DOCUMENTED_LENGTH)
