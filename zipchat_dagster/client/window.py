"""What is known of the server's current rate-limit window, and whether one more call fits in it.

Pure state: no clock, no file, no thread. `budget.py` shares one `Window` between processes.

The API allows so many requests per window and says on every answer how many are left and when
the window resets (X-RateLimit-Limit, -Remaining, -Reset; `api.md`, "Limits and errors"). What it
does not say, and how it is met here:

- Whose clock: a stated reset is the server's. Each answer's `Date` bounds how far ours is off.
- When a window ends: on the clock's grid at the stated reset, or so many seconds after the call
  that opened it, in which case the stated reset is rounded, nobody knows which way. `_ends` keeps
  the earliest moment each of these allows, and one moment that is late enough for all.
- Which of them is true: as many calls as there are such moments are kept back, and let go at
  them. A call that goes too early still fits into the old window; the first that finds the new
  one has saved the time, and says which way the server counts. No 429 is risked for it.
- What others spend: `remaining` tells, so one call goes ahead in each new window to learn it.
- No headers at all: no more than the limit in any 60 seconds, by our own count.

Two clocks appear: "local" is our machine's, "server" the API's, both in Unix seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DOCUMENTED_LIMIT = 120
DOCUMENTED_LENGTH = 60  # seconds
# seconds; where headers leave two lengths possible, a usual one is believed until it proves wrong
USUAL_LENGTHS = (5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)
POLL = 0.01  # seconds between looks while answers are under way
GRACE = 0.02  # seconds past a window's end: the server's timer is no finer than ours
DRIFT = 2e-4  # seconds by which two clocks may part in a second
IN_TRANSIT = 5.0  # seconds; a call sent that long before a window opened does not arrive in it
PERMIT_LIFETIME = 40.0  # seconds, more than a call may take; older ones are of a process that died
PROBE_PATIENCE = 10.0  # seconds; then another call goes ahead into the new window
LONGEST_LENGTH = 3600  # seconds; more is no window but a misread header
RELEASE = 0.1  # the last part of a window, in which what was held back may be spent
MOST_KEPT = 0.02  # of the limit: calls kept back to find a window's end
WORTH_KEEPING = 0.5  # seconds that must be in doubt for that
UNIX_TIMES_FROM = 1_000_000_000  # a smaller reset is a number of seconds from now
MILLISECONDS_FROM = 100_000_000_000
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Answer:
    """What one answer says about the window."""

    sent_at: float  # local
    received_at: float  # local
    status: int | None = None  # None: no answer came
    date: float | None = None  # server, whole seconds
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None  # server, or seconds from when the call arrived
    retry_after: float | None = None  # seconds


@dataclass
class Window:
    """The state of one key's budget. `decide` and `settle` are the only ways to change it."""

    limit: int = DOCUMENTED_LIMIT
    length: float = DOCUMENTED_LENGTH  # seconds: the best guess
    shortest: int = 1  # seconds: what the length can be if windows count from their first call
    longest: int = LONGEST_LENGTH
    likely: int = 1  # seconds: the shortest of those that no call has found too short
    believes_usual: bool = True  # whether one of USUAL_LENGTHS may be taken for granted
    on_clock: bool | None = None  # whether windows lie on the clock's grid; None: not known yet
    is_exact: bool = False  # resets come with fractions of a second

    begun: int = 0  # windows seen so far

    # This window
    reset: float | None = None  # as stated: server, or local where it was relative
    is_relative: bool = False  # it was stated in seconds from the call's arrival
    reset_late: float = 0.0  # local: the relative reset, counted from when answers were received
    spent: int = 0
    since: float = 0.0  # local: when the first call was sent that found this window
    seen_at: float | None = None  # local: when its answer came; None: nothing known yet
    opened: tuple[float, float] | None = None  # local: our call that opened it, sent and received

    # No headers
    recent: list[float] = field(default_factory=list)  # local: calls of the last `length` seconds

    # The server's clock minus ours, in seconds
    offset: float | None = None  # at least
    offset_guess: float = 0.0  # what calls will find that travel no faster than earlier ones
    offset_high: float = 0.0  # at most
    offset_at: float = 0.0  # local: when that was learned

    blocked_until: float | None = None  # local: after refusals that do not say until when
    refusals: int = 0  # of those, in a row
    permits: dict[str, float] = field(default_factory=dict)  # given, not settled; id → local time
    probe: str | None = None

    def decide(self, permit: str, *, now: float, reserve: float) -> float:
        """Give `permit` out (0.0), or say how many seconds to wait before asking again.

        `now` is local. `reserve` is the fraction of the window that this caller leaves to others
        until the last tenth of the window, when unspent budget would be lost to everybody.
        """
        self._tidy(now)
        if self.blocked_until is not None and now < self.blocked_until:
            return self._bounded(self.blocked_until - now)
        if self.blocked_until is not None or self.seen_at is None:
            return self._go_ahead(permit, now)
        held = min(math.ceil(self.limit * reserve), self.limit - 1)
        if self.reset is None:
            return self._decide_by_count(permit, now, held)
        return self._decide_by_window(permit, now, held)

    def settle(self, permit: str, answer: Answer) -> None:
        """Take a permit back, with what its answer says. Without an answer it counts as spent."""
        self.permits.pop(permit, None)
        self._learn_offset(answer)
        if answer.limit:
            self.limit = answer.limit
        reset = self._reset_of(answer)
        if reset is None or answer.remaining is None:
            self._count(answer)
        else:
            spent = max(0, self.limit - answer.remaining)
            age = self._age_of(answer, reset, spent)
            if age < 0:
                return  # a late answer, of a window that is over
            if age > 0:
                self._learn_from_end(answer)
                self._begin(answer, reset)
            else:
                self._learn_from_lasting(answer)
            self._note(answer, reset, spent)
        if answer.status == TOO_MANY_REQUESTS:
            self._refused(answer)
        elif answer.status is not None and answer.sent_at >= (self.blocked_until or 0.0):
            self.blocked_until, self.refusals = None, 0

    def _tidy(self, now: float) -> None:
        if self.seen_at is not None and now < self.seen_at - IN_TRANSIT:
            # Our clock was set back, so that no local time in here means anything any more.
            self.seen_at = self.reset = self.opened = self.offset = self.blocked_until = None
            self.recent = []
        gone = [p for p, at in self.permits.items() if abs(now - at) >= PERMIT_LIFETIME]
        expired = [self.permits.pop(p) for p in gone]
        if self.reset is None and expired:  # nobody else will tell whether they were spent
            self.recent = sorted([*self.recent, *expired])

    def _go_ahead(self, permit: str, now: float) -> float:
        """One call at a time, into a window that nothing is known of."""
        if now - self.permits.get(self.probe or "", -math.inf) < PROBE_PATIENCE:
            return POLL
        self.probe = permit
        self.permits[permit] = now
        return 0.0

    def _decide_by_window(self, permit: str, now: float, held: int) -> float:
        early, late = self._ends()
        if now >= late:
            return self._go_ahead(permit, now)
        ahead = [at for at in early if now < at]  # for each, one call is kept back until then
        release_at = (early or [late])[0] - RELEASE * self.length
        if held and now < release_at:
            ahead.insert(0, release_at)
            held = max(held, len(early))
        else:
            held = len(ahead)
        under_way = sum(at >= self.since - IN_TRANSIT for at in self.permits.values())
        if self.limit - held - self.spent - under_way > 0:
            self.permits[permit] = now
            return 0.0
        if under_way and self.limit - held > self.spent:
            return POLL
        return self._bounded((ahead[0] if held and self.spent < self.limit else late) - now)

    def _decide_by_count(self, permit: str, now: float, held: int) -> float:
        """Without headers: in no span of `length` seconds more than the limit, which is right
        wherever the server's windows begin."""
        self.recent = [at for at in self.recent if now - at < self.length + GRACE]
        release_at = (self.recent or [now])[0] + (1 - RELEASE) * self.length
        room = self.limit - (held if now < release_at else 0)
        if room - len(self.recent) - len(self.permits) > 0:
            self.permits[permit] = now
            return 0.0
        if len(self.recent) < room:
            return POLL
        free_at = self.recent[len(self.recent) - room] + self.length + GRACE
        can_release = room < self.limit and len(self.recent) < self.limit
        return self._bounded((min(free_at, release_at) if can_release else free_at) - now)

    def _ends(self) -> tuple[list[float], float]:
        """Local times: each at which this window may be over already, and one when it surely is.

        The early ones count from when calls were sent, the late one from when they were answered:
        nobody knows how long they were on the way there. Early ones are left out where knowing
        would save less than one call.
        """
        assert self.seen_at is not None
        assert self.reset is not None
        rounding = 0 if self.is_exact else 1
        if self.is_relative:
            earliest, stated, stated_late = self.reset, self.reset, self.reset_late
        elif self.offset is not None:
            earliest = self.reset - self.offset_high
            stated, stated_late = self.reset - self.offset_guess, self.reset - self.offset
        else:
            # Whatever the window counts from, it began before its first answer.
            return [], self.seen_at + self.length + GRACE
        latest = stated_late + rounding
        early = [stated]
        # A relative reset wanders within a second even on the clock's grid.
        late = latest if self.is_relative else stated_late
        if self.opened is None and not self.on_clock:
            late = latest
        elif self.opened is not None and not self.on_clock:
            sent_at, received_at = self.opened
            longer = min(self.likely + 1, self.longest)
            early = [sent_at + self.likely, received_at + self.likely, sent_at + longer]
            if self.on_clock is None and not self.is_relative:
                early.append(stated)
            end = received_at + self.longest
            # While both kinds of windows are possible, the last of what they allow.
            late = min(end if self.on_clock is False else max(end, late), latest)
        late = min(late, self.seen_at + 2 * self.length)
        return self._worthwhile(early, not_before=earliest - rounding, late=late), late + GRACE

    def _worthwhile(self, early: list[float], *, not_before: float, late: float) -> list[float]:
        """Those of the early times that save enough to keep calls back for them."""
        is_near = self.opened is None or self.opened[1] - self.opened[0] <= WORTH_KEEPING
        if self.begun <= 1 and is_near:
            return []  # the next window will tell more, and no first run waits for its last call
        least = max(WORTH_KEEPING, self.length / self.limit)  # seconds: what one call is worth
        useful: list[float] = []
        for at in sorted(max(at, not_before) for at in early):
            if late - at > least and (not useful or at - useful[-1] > least):
                useful.append(at)
        return [at + GRACE for at in useful[: max(1, math.floor(self.limit * MOST_KEPT))]]

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, POLL), 2 * self.length)

    def _learn_offset(self, answer: Answer) -> None:
        """`Date` is cut to whole seconds and made between sending and receiving."""
        if answer.date is None:
            return
        now = answer.received_at
        low, guess, high = (
            answer.date - now,
            answer.date - answer.sent_at,
            answer.date + 1 - answer.sent_at,
        )
        if self.offset is not None:
            faded = DRIFT * max(0.0, now - self.offset_at)
            known_low = max(low, self.offset - faded)
            known_high = min(high, self.offset_high + faded)
            if known_low <= known_high:
                low, high = known_low, known_high
                guess = max(guess, self.offset_guess - faded)
                now = max(now, self.offset_at)
            else:  # one of the clocks was set
                self.opened = None
        self.offset, self.offset_guess, self.offset_high = low, min(guess, high), high
        self.offset_at = now

    def _reset_of(self, answer: Answer) -> float | None:
        """The stated reset as a time, server or (relative) local; None where it says nothing."""
        reset = answer.reset
        if reset is None or reset < 0:
            return None
        if reset >= MILLISECONDS_FROM:
            reset /= 1000
        is_relative = reset < UNIX_TIMES_FROM
        if is_relative:
            reset += answer.sent_at
            ahead = reset - answer.sent_at
        else:
            ahead = 0.0 if self.offset is None else reset - answer.sent_at - self.offset_guess
        if not -2 < ahead < LONGEST_LENGTH + 2:
            return None
        if is_relative != self.is_relative:
            self.is_relative = is_relative
            self.reset = None
        return reset

    def _age_of(self, answer: Answer, reset: float, spent: int) -> int:
        """Whether the answer is of a newer window (1), of this one (0), or of an older one (-1)."""
        if self.reset is None or self.seen_at is None:
            return 1
        # A relative reset wanders by a second of rounding and by the way there.
        tolerance = 1.5 if self.is_relative else 0.5
        if reset > self.reset + tolerance:
            return 1
        is_same = abs(reset - self.reset) <= tolerance
        if answer.sent_at >= self._ends()[1]:
            # Sent after the end: the server's clock was set back, or windows are very short.
            return 1 if not is_same or (self.is_relative and spent < self.spent) else 0
        return 0 if is_same else -1

    def _begin(self, answer: Answer, reset: float) -> None:
        self.reset = reset
        self.reset_late = math.inf
        self.begun += 1
        self.spent = 0
        self.since, self.seen_at = answer.sent_at, answer.received_at
        self.opened = None
        self.recent = []
        self.blocked_until, self.refusals = None, 0

    def _note(self, answer: Answer, reset: float, spent: int) -> None:
        """Take in what an answer of this window says of it."""
        assert self.reset is not None
        assert self.seen_at is not None
        assert answer.reset is not None
        self.reset = max(self.reset, reset)
        self.spent = max(self.spent, spent)
        self.since = min(self.since, answer.sent_at)
        self.seen_at = min(self.seen_at, answer.received_at)
        self.is_exact = self.is_exact or answer.reset % 1 > 0
        if spent <= 1 and (self.opened is None or answer.sent_at < self.opened[0]):
            self.opened = answer.sent_at, answer.received_at
            if self.is_relative:
                # The opening call is told the whole length, which may have been cut.
                self._narrow(math.floor(answer.reset), math.floor(answer.reset) + 1)
        if self.is_relative:
            self.reset_late = min(self.reset_late, answer.received_at + answer.reset)
        elif self.offset is not None:
            rounding = 0 if self.is_exact else 1
            at_least = self.reset - rounding - answer.received_at - self.offset_high
            self.length = max(self.length, math.ceil(at_least))
            if self.opened is not None:
                sent_at, received_at = self.opened
                at_least = self.reset - rounding - received_at - self.offset_high
                at_most = self.reset + rounding - sent_at - self.offset
                self._narrow(math.ceil(at_least - GRACE), math.floor(at_most + GRACE))
                if answer.date is not None and self.opened[0] == answer.sent_at:
                    # Both are whole seconds: rounded up, there is one too many between them.
                    likely = math.floor(self.reset - answer.date) - rounding
                    self.likely = min(max(self.likely, likely), self.longest)

    def _narrow(self, shortest: int, longest: int) -> None:
        """This window, if it counts from our call that opened it, is a whole number of seconds
        long, from `shortest` to `longest`; and if windows count like that, all are equal."""
        if longest < 1:
            return
        was_known = self.longest < LONGEST_LENGTH
        low, high = max(shortest, self.shortest), min(longest, self.longest)
        if low > high:
            self.on_clock = True  # one of them had begun before the call that seemed to open it
            low, high = max(shortest, 1), longest
        usual = [seconds for seconds in USUAL_LENGTHS if low <= seconds <= high]
        if self.believes_usual and len(usual) == 1:
            low = high = usual[0]
        self.shortest, self.longest = low, high
        self.likely = min(max(low, self.likely), high)
        self.length = max(high, self.length) if was_known and self.on_clock else high
        is_usual = low == high and low in USUAL_LENGTHS
        if self.on_clock is None and is_usual and self._has_offset() and (self.reset or 0) % 5:
            self.on_clock = False  # on the clock, all usual windows end at multiples of 5 seconds

    def _learn_from_end(self, answer: Answer) -> None:
        """This window was over when `answer` was made."""
        if self.opened is not None:
            lasted = answer.received_at - self.opened[0]  # at most
            if lasted < self.likely:
                self.likely = self.shortest
            if lasted < self.shortest:
                self.on_clock = True
            elif lasted < self.longest:
                self.length = self.longest = math.floor(lasted)
        if self.on_clock is None and self.reset is not None and self._has_offset():
            at = answer.received_at + self.offset_high
            if at < self.reset:
                self.on_clock = False

    def _learn_from_lasting(self, answer: Answer) -> None:
        """This window was still running when the call of `answer` arrived."""
        at = answer.sent_at
        if self.opened is not None:
            sent_at, received_at = self.opened
            if at > received_at + self.longest:
                self.on_clock = True
                self.shortest = self.likely = 1
                self.longest = LONGEST_LENGTH
                self.believes_usual = False
            else:
                self.shortest = max(self.shortest, math.floor(at - received_at) + 1)
                # This one may have come slower than that one: good enough for a guess.
                if at > sent_at + self.likely + GRACE / 2:
                    self.likely = math.floor(at - sent_at) + 1
                self.likely = min(max(self.shortest, self.likely), self.longest)
        if self.on_clock is not False and self._has_offset():
            assert self.reset is not None
            assert self.offset is not None
            offset = self.offset if self.on_clock else self.offset_guess
            if at + offset > self.reset + GRACE / 2:
                self.on_clock = False

    def _has_offset(self) -> bool:
        """Whether the stated reset can be compared with our clock."""
        return self.offset is not None and not self.is_relative

    def _count(self, answer: Answer) -> None:
        """An answer without headers, or none at all."""
        if self.reset is not None and (answer.status is None or answer.sent_at < self._ends()[1]):
            self.spent += 1
        elif answer.status is not None or self.seen_at is not None:
            self.reset = self.opened = None
            self.seen_at = answer.received_at
            self.recent = sorted([*self.recent, answer.received_at])

    def _refused(self, answer: Answer) -> None:
        """Somebody else spent the window, or it has not ended yet where we thought it had."""
        now = answer.received_at
        if self.reset is not None:
            self.spent = max(self.spent, self.limit)
            if now < self._ends()[1]:
                return
        if answer.sent_at >= (self.blocked_until or 0.0):
            pause = 2.0**self.refusals if answer.retry_after is None else answer.retry_after
            self.blocked_until = now + min(pause, self.length)
            self.refusals = min(self.refusals + 1, 10)
