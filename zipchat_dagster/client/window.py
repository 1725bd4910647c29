"""What is known of the server's current rate-limit window, and whether one more call fits in it.

Pure state: no clock, no file, no thread. `budget.py` shares one `Window` between processes.

The API allows so many requests per window and says on every answer how many are left and when
the window resets (X-RateLimit-Limit, -Remaining, -Reset; `api.md`, "Limits and errors"). What it
does not say, and how it is met here:

- Whose clock: all stated times are the server's. The `Date` header bounds how far ours is off;
  each answer narrows the bound, so a clock of ours that is minutes off does no harm.
- Whether a window starts on the clock's minute or at the first request, and how a fraction of a
  second is rounded away in a whole-second reset: see `_lag`.
- What others spend: `remaining` tells, so one call goes ahead in each new window to learn it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DOCUMENTED_LIMIT = 120
DOCUMENTED_LENGTH = 60.0  # seconds
POLL = 0.01  # seconds between looks while answers are under way
GRACE = 0.02  # seconds past a window's end: the server's timer is no finer than ours
PERMIT_LIFETIME = 90.0  # seconds; older ones belonged to a process that died
PROBE_PATIENCE = 10.0  # seconds; then another call goes ahead into the new window
LONGEST_LENGTH = 3600.0  # seconds; more is no window but a misread header
RELEASE = 0.1  # the last part of a window, in which what was held back may be spent
UNIX_TIMES_FROM = 1_000_000_000  # a smaller reset is a number of seconds from now
MILLISECONDS_FROM = 100_000_000_000


@dataclass(frozen=True)
class Answer:
    """What one answer says about the window. Local times are Unix seconds of our own clock."""

    sent_at: float
    received_at: float
    status: int | None = None  # None: no answer came
    date: float | None = None  # Unix seconds, the server's clock, whole seconds
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_after: float | None = None


@dataclass
class Window:
    """The state of one key's budget. `decide` and `settle` are the only ways to change it."""

    limit: int = DOCUMENTED_LIMIT
    length: float = DOCUMENTED_LENGTH  # seconds, the longest seen once one was seen
    is_length_seen: bool = False
    reset: float | None = None  # as the server states it, on its clock
    is_reset_relative: bool = False
    rounds_down: bool = False  # a window was still running after its stated reset
    spent: int = 0
    seen_at: float | None = None  # local: when this window was first heard of
    opened: tuple[float, float] | None = None  # local: our call that opened it, sent and received
    offset: float | None = None  # the server's clock minus ours, lower bound
    offset_high: float | None = None
    blocked_until: float | None = None  # local: after a refusal that does not say until when
    permits: dict[str, float] = field(default_factory=dict)  # given, not settled; id → local time
    probe: str | None = None

    def decide(self, permit: str, *, now: float, reserve: float) -> float:
        """Give `permit` out (0.0), or say how many seconds to wait before asking again.

        `reserve` is the fraction of the window that this caller leaves to others until the last
        tenth of the window, when unspent budget would be lost to everybody.
        """
        self.permits = {p: at for p, at in self.permits.items() if abs(now - at) < PERMIT_LIFETIME}
        if self.blocked_until is not None and now < self.blocked_until:
            return self._bounded(self.blocked_until - now)
        ends_at = self.ends_at()
        if ends_at is None or now >= ends_at:
            if now - self.permits.get(self.probe or "", -math.inf) < PROBE_PATIENCE:
                return POLL
            self.probe = permit
            self.permits[permit] = now
            return 0.0
        release_at = ends_at - RELEASE * self.length
        held = math.ceil(self.limit * reserve) if now < release_at else 0
        if self.limit - held - self.spent - len(self.permits) > 0:
            self.permits[permit] = now
            return 0.0
        if self.permits and self.limit - held > self.spent:
            return POLL
        return self._bounded((release_at if held and self.spent < self.limit else ends_at) - now)

    def settle(self, permit: str, answer: Answer) -> None:
        """Take a permit back, with what its answer says. Without an answer it counts as spent."""
        self.permits.pop(permit, None)
        self._learn_offset(answer)
        now = answer.received_at
        reset = self._reset_on_server_clock(answer)
        if answer.limit:
            self.limit = answer.limit
        if reset is None or answer.remaining is None:
            self._count_without_headers(answer)
        else:
            stated = max(0, self.limit - answer.remaining)
            tolerance = 1.5 if self.is_reset_relative else 0.5
            if self.reset is None or reset > self.reset + tolerance or self._has_ended(now, reset):
                self._begin(answer, reset=reset, spent=stated)
            elif abs(reset - self.reset) <= tolerance:
                self.spent = max(self.spent, stated)
                self.reset = max(self.reset, reset)
        if answer.status == 429:  # noqa: PLR2004 - Too Many Requests
            self._refused(answer)

    def ends_at(self) -> float | None:
        """Local Unix time from which a call surely falls into the next window; None: unknown."""
        if self.seen_at is None:
            return None
        if self.reset is None:
            return self.seen_at + self.length + GRACE
        ends_at = self.reset + self._lag() - (self.offset or 0.0) + GRACE
        return min(ends_at, self.seen_at + 2 * self.length)

    def _lag(self) -> float:
        """Seconds by which the window may outlive a whole-second reset.

        A window on the clock's grid ends on the second. One that counts from its first request
        ends at that request's fraction of a second, and a server that rounds down states up to
        a second less. When another program opened it, or the call took long, the fraction is
        unknown: one second.
        """
        if self.reset is None or self.reset % 1:
            return 0.0
        on_grid = self.reset % self.length == 0 or self.reset % DOCUMENTED_LENGTH == 0
        if on_grid and not self.rounds_down and not self.is_reset_relative:
            return 0.0
        if self.opened is None or self.is_reset_relative:
            return 1.0
        sent_at, received_at = self.opened
        if received_at - sent_at > 0.5:  # noqa: PLR2004 - half of what is to be found out
            return 1.0
        return (received_at + (self.offset or 0.0) - self.reset) % 1

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, POLL), 2 * self.length)

    def _learn_offset(self, answer: Answer) -> None:
        """`Date` is cut to whole seconds and made between sending and receiving."""
        if answer.date is None:
            return
        low = answer.date - answer.received_at
        high = answer.date + 1 - answer.sent_at
        if self.offset is None or self.offset_high is None:
            self.offset, self.offset_high = low, high
            return
        self.offset, self.offset_high = max(low, self.offset), min(high, self.offset_high)
        if self.offset > self.offset_high:  # one of the clocks was set
            self.offset, self.offset_high = low, high

    def _reset_on_server_clock(self, answer: Answer) -> float | None:
        if answer.reset is None:
            return None
        if answer.reset >= MILLISECONDS_FROM:
            return answer.reset / 1000
        server_now = answer.received_at + (self.offset or 0.0)
        if answer.reset < UNIX_TIMES_FROM:
            self.is_reset_relative = True
            return math.ceil(server_now + max(0.0, answer.reset))
        self.is_reset_relative = False
        # A reset that lies well in the past says nothing; our own count does better.
        return answer.reset if answer.reset > server_now - 2 else None

    def _has_ended(self, now: float, reset: float) -> bool:
        """A stated reset that is earlier than ours counts only once our window is over."""
        ends_at = self.ends_at()
        return self.reset != reset and ends_at is not None and now >= ends_at

    def _begin(self, answer: Answer, *, reset: float | None, spent: int) -> None:
        self._learn_length()
        if self.offset is not None:
            self.offset -= 0.01  # clocks drift; what was learned long ago fades
        self.reset = reset
        self.spent = spent
        self.seen_at = answer.received_at
        self.opened = (answer.sent_at, answer.received_at) if spent <= 1 else None
        self.blocked_until = None

    def _learn_length(self) -> None:
        """From the window that is over, since by now the clocks' difference is known best."""
        if self.reset is None or self.offset is None or self.opened is None:
            return
        length = float(math.ceil(self.reset - self.opened[0] - self.offset - 0.2))
        if 1 <= length <= LONGEST_LENGTH:
            self.length = max(self.length, length) if self.is_length_seen else length
            self.is_length_seen = True

    def _count_without_headers(self, answer: Answer) -> None:
        if self.reset is not None:  # an answer that never came, in a window that is known
            self.spent += 1
            return
        ends_at = self.ends_at()
        if ends_at is None or answer.received_at >= ends_at:
            self._begin(answer, reset=None, spent=1)
        else:
            self.spent += 1

    def _refused(self, answer: Answer) -> None:
        """Somebody else spent the window, or it has not ended yet where we thought it had."""
        self.spent = max(self.spent, self.limit)
        now = answer.received_at
        ends_at = self.ends_at()
        if answer.retry_after is not None:
            self.blocked_until = now + min(answer.retry_after, 2 * self.length)
        elif ends_at is None or now >= ends_at:
            self.blocked_until = now + 1.0
        if self.reset is not None and answer.sent_at + (self.offset or 0.0) >= self.reset:
            self.rounds_down = True
