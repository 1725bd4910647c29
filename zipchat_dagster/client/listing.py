"""Reading a list by page numbers without losing rows while the list changes.

Page numbers count from the top of a list that changes between two requests. A row that is deleted
above us, or jumps from above us to below, pulls unread rows over a page's edge, where they are
never seen. A row that is inserted pushes others down, and they are seen twice. The answers do not
show it, and the order of the list (newest first, oldest first, by id) is not documented. So:

1. **Overlap.** Each page is requested with a number and a size that make it begin a few rows before
   the end of what was read. A row on it that was read before and has not changed since joins the
   two: nothing slipped through between them, whatever the order. Without such a row we step back
   and read from further up. Page sizes of 80 to 100 instead of 100 cost about a fifth more pages,
   which are 1 % of all requests; a second pass would cost as many again and prove less.
2. **Ties.** Rows of the same second may come in another order on each page, so rows of a second in
   which a page ended do not join. Where a whole overlap falls into such a second (a bulk import),
   there is nothing else to go by: then many of its rows do, if they kept their order.
3. **Size.** The server's largest page may be smaller than the one requested. A first page that is
   shorter than requested, and as long as the longest page of this server so far, is therefore
   followed by another one, unless the answer states that there is none.
4. **Total.** Where the API states a total and fewer distinct rows came, the list is read again.
   When the same rows come twice, apart from those active meanwhile, they are all there are, and the
   total counts something else. This is logged and remembered, so that it is not paid for each time
   (see `Habits`). Reading again looks at the second page, too, where the first one was short.
5. **Catch up.** What changed while we read was active after we began. It is listed again from that
   time on, until one page holds it all: a single page cannot change under itself. A list of several
   pages always takes this request, even if nothing seems to have changed: a deletion and a jump to
   the top cancel out.

Only the server's clock (`Date`) is used. Everything is bounded: a list that still changes then
raises `ListingUnsettledError` after all rows were handed out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from zipchat_dagster.client.answers import Json, identity, time_of
from zipchat_dagster.client.errors import ListingUnsettledError, PageLoopError

Rows = tuple[list[Json], datetime]  # of a page, with the server's time
Key = tuple[int | str, Any]  # a record's identity and activity

OVERLAP: Final = 5  # rows; more changes than that between two requests cost a step back
TIED_OVERLAP: Final = 20  # rows of one second that join pages when they keep their order
LEAST_PAGE: Final = 10  # rows; no server's largest page is taken to be shorter, without a total
MARGIN: Final = timedelta(seconds=30)  # a change may become visible after the second it bears
MAX_PASSES: Final = 4  # over the whole list when the stated total is not reached
MAX_ROUNDS: Final = 8  # of catching up
MOST_PAGES: Final = 40  # of one pass, beyond four times what the distinct rows need
MAX_STEPS_BACK: Final = 30  # in one pass, beyond one for every tenth page


@dataclass(frozen=True)
class Page:
    """One page as the API gave it; the last two are None where the API does not state them."""

    rows: list[Json]
    observed_at: datetime  # the server's clock
    total: int | None = None
    is_last: bool | None = None


FetchPage = Callable[[int, int, datetime | None], Page]
"""(page number from 1, page size, since) → Page"""


class Habits:
    """What the lists of one endpoint have taught a client about its server. Thread-safe.

    Attributes:
        longest: rows of the longest page so far. A shorter page was not cut by the server.
        confirming: held while a list is read again because of its total, so that what the first
            one shows spares the others their second reading.
    """

    def __init__(self) -> None:
        self.longest = 0
        self.confirming = threading.RLock()
        # By whether `since` was sent: some totals ignore it. None: totals count something else.
        self._surplus: dict[bool, int | None] = {False: 0, True: 0}

    def expected(self, total: int | None, since: datetime | None) -> int | None:
        """How many rows to expect where the API states `total`; None if there is no telling."""
        surplus = self._surplus[since is not None]
        return None if total is None or surplus is None else max(0, total - surplus)

    def learn(self, surplus: int, since: datetime | None) -> None:
        """A list that was read to its end has so many rows fewer than its total says.

        The first difference is expected from then on. A second, different one shows that totals
        say nothing about the rows.
        """
        known = self._surplus[since is not None]
        if known != surplus:
            self._surplus[since is not None] = surplus if known == 0 else None


class Listing:
    """Every record of a list that was active at or after `since` (None: every record).

    Iterate it once. It yields pages as `(rows, observed_at)`, each record at least once, and again
    whenever it was seen changed. Afterwards:

    - `as_of`: the server's time up to which the listing is complete: every record with activity
      in [since, as_of) was yielded. None until the iteration has ended.
    - `seen`: id → activity as last seen. For a record without a usable id, its content as text
      takes the id's place.
    - `total`: the number of records as the API stated it (the least, if it changed), or None.

    Args:
        fetch_page: how to get one page.
        what: the records' name in logs and errors.
        since: lower bound of the activity, inclusive.
        page_size: the largest page the API gives.
        activity_field: the field with a record's time, None if it has none.
        catches_up: whether to list again what was active while the list was read.
        habits: what is known about the endpoint; it is added to.

    Raises while iterating:
        ListingUnsettledError: it kept changing, or fewer records came than the API states, and
            different ones each time.
        PageLoopError: the pages repeat themselves.
    """

    def __init__(
        self,
        fetch_page: FetchPage,
        *,
        what: str = "conversations",
        since: datetime | None = None,
        page_size: int = 100,
        activity_field: str | None = "last_message_at",
        catches_up: bool = True,
        habits: Habits,
        logger: logging.Logger,
    ) -> None:
        self.as_of: datetime | None = None
        self.seen: dict[int | str, Any] = {}
        self.total: int | None = None
        self._fetch_page = fetch_page
        self._what = what
        self._since = since
        self._page_size = page_size
        self._activity_field = activity_field
        self._catches_up = catches_up
        self._habits = habits
        self._logger = logger

    def __iter__(self) -> Iterator[Rows]:
        reading = yield from self._read(looks_beyond=False)
        if self._is_short():
            with self._habits.confirming:
                reading = yield from self._confirm(reading)
        as_of = reading.began_at
        if self._catches_up and not reading.is_of_one_page:
            as_of = yield from self._catch_up(as_of)
        self.as_of = as_of

    def _read(self, *, looks_beyond: bool) -> Generator[Rows, None, _Pass]:
        """Read the list once. Returns the pass."""
        reading = _Pass(self, since=self._since, looks_beyond=looks_beyond)
        for rows, observed_at in reading:
            self.total = reading.total
            yield rows, observed_at
        return reading

    def _is_short(self) -> bool:
        expected = self._habits.expected(self.total, self._since)
        return expected is not None and len(self.seen) < expected

    def _confirm(self, reading: _Pass) -> Generator[Rows, None, _Pass]:
        """Read again until the total is reached or the same rows came twice. Returns the last
        pass."""
        for _ in range(1, MAX_PASSES):
            if not self._is_short():  # another listing may have learned why meanwhile
                return reading
            known, as_of = set(self.seen), reading.began_at
            self._logger.info(f"{self._difference()}. The list is read again.")
            reading = yield from self._read(looks_beyond=True)
            if self._is_short() and not self._slipped(known, as_of):
                self._logger.warning(
                    f"{self._difference()}, the same ones twice, so there are no others. Such"
                    " differences are accepted from now on."
                )
                self._habits.learn((self.total or 0) - len(self.seen), self._since)
        if self._is_short():
            raise _unsettled(
                f"{self._difference()}, {MAX_PASSES} times in a row and different ones each time."
            )
        return reading

    def _slipped(self, known: set[int | str], as_of: datetime) -> bool:
        """Whether one of the records that were seen since should have been seen before: it was not
        active after `as_of`."""
        times = (time_of(self.seen[i]) for i in self.seen.keys() - known)
        return any(at is None or at < as_of - MARGIN for at in times)

    def _difference(self) -> str:
        return f"The API states {self.total} {self._what} and returned {len(self.seen)}"

    def _catch_up(self, began_at: datetime) -> Generator[Rows, None, datetime]:
        """List what was active since `began_at` until nothing changes. Returns complete as of."""
        for _ in range(MAX_ROUNDS):
            reading = _Pass(self, since=began_at - MARGIN)
            yield from reading
            if reading.is_of_one_page:
                return reading.began_at
            # Too many for one page, such as a bulk import a moment ago. Newest first, whatever
            # changes comes to the top; in the other orders, nothing jumps over us.
            page = reading.fetch(1, self._page_size)
            yield page.rows, page.observed_at
            if set(reading.keys(page.rows)) == set(reading.top):
                return reading.began_at
            began_at = reading.began_at
        raise _unsettled(
            f"More {self._what} than fit on one page were active while the list was read,"
            f" {MAX_ROUNDS} rounds in a row."
        )


class _Pass:
    """One pass over the list from its top; see the module's docstring, 1 to 3.

    Args:
        looks_beyond: whether a first page that is too short to be cut, although more is stated, is
            followed by a look at the second one.
    """

    def __init__(
        self, listing: Listing, *, since: datetime | None, looks_beyond: bool = True
    ) -> None:
        self.began_at: datetime
        self.pages = 0
        self.total: int | None = None
        self.top: list[Key] = []  # the first page as it was at first
        self._listing = listing
        self._since = since
        self._looks_beyond = looks_beyond
        self._size = listing._page_size
        # Rows that are proven: all rows of the list up to them were seen.
        self._settled: dict[int | str, tuple[Any, int]] = {}  # id → activity, order of reading
        self._edges: set[Any] = set()  # the activity of the last row of each proven page
        self._tail: list[Any] = []  # the activities of the last proven rows
        self._places = 0
        self._may_be_all = False  # the first page, although it may have been cut as well
        self._total_is_wrong = False  # the first page is too short for it, and not cut
        self._read = 0  # rank of the last proven row

    def __iter__(self) -> Iterator[Rows]:
        wanted = OVERLAP
        steps_back = 0
        while True:
            overlap = self._overlap(wanted)
            number, size = next_page(self._read, largest=self._size, overlap=overlap)
            page = self.fetch(number, size)
            yield page.rows, page.observed_at
            if number == 1:
                size = yield from self._begin(page)
            elif self._repeats_the_first(page, number, size):
                return
            self._check_that_it_ends()
            first_rank = (number - 1) * size
            if number == 1 or self._is_joined(page.rows):
                wanted = max(OVERLAP, wanted // 2)
                if self._settle(page, first_rank, size):
                    return
                continue
            steps_back += 1
            if steps_back > MAX_STEPS_BACK + self.pages // 10:
                raise _unsettled(
                    f"The list of {self._listing._what} moved by more than {overlap} rows between"
                    f" two requests, or rows of one second change places, {steps_back} times."
                )
            wanted *= 2
            self._read = max(0, first_rank - (0 if page.rows else size))

    @property
    def is_of_one_page(self) -> bool:
        """Whether nothing can have moved past us: the first page was all, or the next one shows it.

        Had the first page been cut off after all, the rows below it would have left their places
        before the next one was read, and be active after `began_at`.
        """
        return self.pages == 1 or (self._may_be_all and len(self._settled) == len(self.top))

    def fetch(self, number: int, size: int) -> Page:
        """One page, counted and noted as seen."""
        page = self._listing._fetch_page(number, size, self._since)
        self.pages += 1
        if self.pages == 1:
            self.began_at = page.observed_at
            self.top = self.keys(page.rows)
        if page.total is not None:
            self.total = page.total if self.total is None else min(self.total, page.total)
        habits = self._listing._habits
        habits.longest = max(habits.longest, len(page.rows))
        self._listing.seen.update(self.keys(page.rows))
        return page

    def keys(self, rows: list[Json]) -> list[Key]:
        """Each row's identity and activity."""
        field = self._listing._activity_field
        return [(identity(row), _plain(row.get(field or ""))) for row in rows]

    def _overlap(self, wanted: int) -> int:
        is_tied = self._listing._activity_field and self._edges.issuperset(self._tail)
        return min(max(wanted, TIED_OVERLAP if is_tied else 0), self._size // 4)

    def _begin(self, page: Page) -> Generator[Rows, None, int]:
        """Start from the top. Returns the size of the pages, as far as the first one shows it."""
        self._settled.clear()
        self._edges.clear()
        shown, requested = len(page.rows), self._size
        has_more = self._has_more(page, shown)
        if has_more and page.is_last is None and shown < requested and not self._may_be_cut(page):
            self._total_is_wrong = True
            if self._looks_beyond:
                beyond = self.fetch(2, requested)
                yield beyond.rows, beyond.observed_at
                self._total_is_wrong = not beyond.rows
            has_more = not self._total_is_wrong
        states_all = page.is_last or page.total == shown
        self._may_be_all = shown < requested and not has_more
        if (has_more and shown) or (self._may_be_cut(page) and not states_all):
            self._size = min(requested, shown)
        return self._size

    def _may_be_cut(self, page: Page) -> bool:
        """Whether the server may give no larger pages than this first one."""
        return len(page.rows) >= max(LEAST_PAGE, self._listing._habits.longest)

    def _has_more(self, page: Page, reached: int) -> bool:
        """Whether the answer states that the list goes on after so many rows."""
        if self._total_is_wrong:
            return False
        expected = self._listing._habits.expected(page.total, self._since)
        return page.is_last is False or (expected or 0) > reached

    def _repeats_the_first(self, page: Page, number: int, size: int) -> bool:
        """Whether a page shows that the first one was all there is, by repeating it."""
        keys = self.keys(page.rows)
        is_repeated = len(keys) >= size and keys[:size] == self.top[:size]
        if is_repeated and not self._may_be_all and size < LEAST_PAGE:
            raise _unsettled(
                f"The list of {self._listing._what} moved by a whole page of {size} between two"
                " requests, or does not advance."
            )
        if is_repeated and not self._may_be_all:
            raise PageLoopError(
                f"page {number} of {size} {self._listing._what} shows what page 1 showed: the list"
                " does not advance. Does the server read the page number?"
            )
        return is_repeated

    def _check_that_it_ends(self) -> None:
        if self.pages > MOST_PAGES + 4 * len(self._listing.seen) // self._size:
            raise _unsettled(
                f"The list of {self._listing._what} did not end within {self.pages} pages: it grew"
                " as fast as it was read, or rows of one second change places."
            )

    def _is_joined(self, rows: list[Json]) -> bool:
        """Whether nothing can have slipped through between the proven rows and this page.

        What does not change keeps its order. All up to the edge was seen; from an unchanged row of
        it on, this page shows all up to its own end.
        """
        tied = []
        for row_id, activity in self.keys(rows):
            settled, place = self._settled.get(row_id, (_UNREAD, 0))
            if settled != activity:
                continue
            if self._listing._activity_field is None or activity not in self._edges:
                return True
            tied.append(place)
        return len(tied) >= self._overlap(TIED_OVERLAP) and tied == sorted(tied)

    def _settle(self, page: Page, first_rank: int, size: int) -> bool:
        """Take a page's rows as proven. Returns whether the list ends with them."""
        keys = self.keys(page.rows)
        for row_id, activity in keys:
            self._places += 1
            self._settled[row_id] = (activity, self._places)
        self._tail = [activity for _, activity in keys[-OVERLAP:]]
        self._edges.update(self._tail[-1:])
        reached = first_rank + len(keys)
        has_advanced = reached > self._read
        self._read = reached
        if self._has_more(page, reached):
            return len(keys) < size and not has_advanced
        return len(keys) < size or page.is_last is True


_UNREAD: Final = object()


def _plain(value: Any) -> Any:
    """A value as a key: JSON's lists and objects cannot be one."""
    return repr(value) if isinstance(value, list | dict) else value


def _unsettled(reason: str) -> ListingUnsettledError:
    return ListingUnsettledError(
        f"{reason} What was read is good, but the list is not taken as complete: read it again."
    )


def next_page(read: int, *, largest: int, overlap: int) -> tuple[int, int]:
    """The page number and size that reach furthest and begin at least `overlap` rows before the
    end of the `read` first rows."""
    if read <= overlap:
        return 1, largest
    sizes = range(max(1, largest // 2), largest + 1)
    return max(
        (((read - overlap) // size + 1, size) for size in sizes),
        key=lambda page: (page[0] * page[1], page[1]),
    )


def requests_to_list(rows: int, *, largest: int) -> int:
    """How many requests it takes to list so many rows that stand still, catching up included.

    Args:
        largest: rows of the largest page.
    """
    requests = read = 0
    while True:
        number, size = next_page(read, largest=largest, overlap=OVERLAP)
        requests += 1
        read = number * size
        if read > rows:
            return requests + (requests > 1)
