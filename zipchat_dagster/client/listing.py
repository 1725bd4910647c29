"""Reading a list by page numbers without losing rows while it moves.

Page numbers count from the top of a list that changes between two requests: what is deleted above
us, or jumps from above to below us, pulls unread rows over a page's edge, where they are never
seen; what is inserted pushes rows down and shows them twice. Nothing in the answers says so. And
nobody told us whether the list is ordered newest first, oldest first or by id. So:

1. **Overlap.** Each page is asked for with a page number and a page size that make it begin a few
   rows before the end of what was read. A row on it that was read before and has not changed since
   joins the two: nothing slipped through between them, whatever the order. Without one we step
   back and ask again from further up. A page size of 80 to 100 instead of 100 costs about a fifth
   more pages, which are 1 % of all requests; a second pass would cost as many again and prove less.
2. **Ties.** Rows of one second may stand in another order on each page, so rows of a second in
   which a page ended do not join. Where a whole overlap is of such a second (a bulk import), there
   is nothing else to go by: then many of its rows, all in the order of before, do.
3. **Catch up.** What moved while we read has activity after we began. It is listed again from that
   time on, until one page holds it all: a single page cannot move under itself. This is one more
   request, and it is always spent: pages that stand still prove nothing, since a deletion and a
   jump to the top cancel out.
4. **Count.** Where the API states a total, fewer distinct rows than that mean another pass. When
   that shows nothing new, the total counts something else; this is logged.

The server's clock (`Date`) is the only one used. All is bounded: what is still moving then raises
`ListingUnsettledError` after all rows were handed out, and nothing may be taken as complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from zipchat_dagster.client.errors import ListingUnsettledError, PageLoopError

Record = dict[str, Any]
Key = tuple[Any, Any]  # a record's id and activity

OVERLAP: Final = 5  # rows; more changes than that between two requests cost a step back
TIED_OVERLAP: Final = 20  # rows of one second that join pages when they keep their order
LEAST_PAGE: Final = 20  # rows; a shorter page is the list's end, not a server's largest page
MARGIN: Final = timedelta(seconds=30)  # a change may become visible after the second it bears
MOST_IN_VAIN: Final = 4  # pages asked for ahead where no total tells how many there are
MAX_PASSES: Final = 4  # whole passes when the API's total is not reached
MAX_ROUNDS: Final = 8  # rounds of catching up
MOST_PAGES: Final = 40  # of one pass, beyond four times what the distinct rows need
MAX_STEPS_BACK: Final = 30  # in one pass, beyond one for every tenth page


@dataclass(frozen=True)
class Page:
    """One page as the API gave it; the last three only where it states them."""

    rows: list[Record]
    observed_at: datetime  # the server's clock
    total: int | None = None
    per_page: int | None = None
    is_last: bool | None = None


FetchPage = Callable[[int, int, datetime | None], Page]
"""(page number from 1, page size, since) → Page"""


@dataclass(frozen=True)
class Ahead:
    """Pages asked for before they are needed. What joins two pages is that some rows stood still
    all the while, so it does not matter which of the pages was asked for first."""

    submit: Callable[..., Future[Page]]  # takes what FetchPage takes, after the function itself
    pages: Callable[[], int]  # how many may be under way now


class Listing:
    """Every record of a list that was active at or after `since` (None: every record).

    Iterate it once; it yields pages' rows as `(rows, observed_at)`, each record at least once and
    again whenever it was seen changed. Afterwards:

    - `as_of`: the server's time up to which the listing is complete: every record with activity
      in [since, as_of) was yielded. None until the iteration has ended.
    - `seen`: id → `last_message_at` as last seen.
    - `total`: the number of records as the API stated it last for the whole list, or None.

    Args:
        fetch_page: how to get one page.
        since: lower bound of the activity, inclusive.
        page_size: the largest page the API gives.
        activity_field: the field that moves a record within the list, None where none does.
        ahead: how to ask for pages before they are needed, where answers are slow.

    Raises while iterating:
        ListingUnsettledError: it kept moving, or fewer records came than the API states, and not
            the same ones each time.
        PageLoopError: the pages repeat themselves.
    """

    def __init__(
        self,
        fetch_page: FetchPage,
        *,
        since: datetime | None = None,
        page_size: int = 100,
        activity_field: str | None = "last_message_at",
        ahead: Ahead | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.as_of: datetime | None = None
        self.seen: dict[Any, Any] = {}
        self.total: int | None = None
        self._fetch_page = fetch_page
        self._since = since
        self._page_size = page_size
        self._activity_field = activity_field
        self._ahead = ahead
        self._logger = logger or logging.getLogger("zipchat_dagster")

    def __iter__(self) -> Iterator[tuple[list[Record], datetime]]:
        for number in range(MAX_PASSES):
            known = len(self.seen)
            reading = _Pass(self, since=self._since)
            for rows, observed_at in reading:
                self.total = reading.total
                yield rows, observed_at
            as_of = reading.began_at
            if reading.pages > 1 and self._activity_field is not None:
                as_of = yield from self._catch_up(as_of)
            difference = f"The API states {reading.total} records and showed {len(self.seen)}"
            if len(self.seen) >= reading.least_total:
                self.as_of = as_of
                return
            if number and len(self.seen) == known:
                # A total that counts something else, such as what is older than `since`.
                self._logger.warning(f"{difference}, the same ones twice: taken as all there are.")
                self.as_of = as_of
                return
            self._logger.info(f"{difference}; the list is read again.")
        raise ListingUnsettledError(
            f"{difference}, {MAX_PASSES} times in a row and others each time. What came is stored;"
            " the list is not taken as complete, and the next run reads it again."
        )

    def _catch_up(
        self, began_at: datetime
    ) -> Generator[tuple[list[Record], datetime], None, datetime]:
        """List what was active since `began_at` until nothing moves. Returns complete as of."""
        for _ in range(MAX_ROUNDS):
            reading = _Pass(self, since=began_at - MARGIN)
            yield from reading
            if reading.pages == 1:
                return reading.began_at
            # Too many for one page, such as a bulk import a moment ago. Newest first, whatever
            # moves comes to the top; in the other orders, nothing jumps over us.
            page = reading.fetch(1, self._page_size)
            yield page.rows, page.observed_at
            if set(reading.keys(page.rows)) == set(reading.top):
                return reading.began_at
            began_at = reading.began_at
        raise ListingUnsettledError(
            f"more than {self._page_size} conversations a round were active while the list was"
            f" read, {MAX_ROUNDS} rounds in a row. What came is stored; the list is not taken as"
            " complete, and the next run reads it again."
        )


class _Pass:
    """One pass over the list from its top; see the module's docstring, 1 and 2."""

    def __init__(self, listing: Listing, *, since: datetime | None) -> None:
        self.began_at: datetime
        self.pages = 0
        self.total: int | None = None
        self.least_total = 0
        self.top: list[Key] = []  # the first page as it was at first
        self._listing = listing
        self._since = since
        self._size = listing._page_size
        self._settled: dict[Any, tuple[Any, int]] = {}  # id → activity, place in order of reading
        self._edges: set[Any] = set()  # the activity of the last row of each proven page
        self._tail: list[Any] = []  # the activities of the last proven rows
        self._places = 0
        self._read = 0  # rank of the last proven row
        self._under_way: dict[tuple[int, int], Future[Page]] = {}

    def __iter__(self) -> Iterator[tuple[list[Record], datetime]]:
        wanted = OVERLAP
        steps_back = 0
        while True:
            overlap = self._overlap(wanted)
            number, size = next_page(self._read, largest=self._size, overlap=overlap)
            page = self.fetch(number, size)
            yield page.rows, page.observed_at
            if number == 1:
                size = self._begin(page)
            self._check_that_it_ends(page, number, size)
            first_rank = (number - 1) * size
            if number > 1 and not self._is_joined(page.rows):
                steps_back += 1
                if steps_back > MAX_STEPS_BACK + self.pages // 10:
                    raise ListingUnsettledError(
                        f"the list moved by more than {overlap} rows between two requests, or"
                        f" rows of one second change places, {steps_back} times. What came is"
                        " stored; the list is not taken as complete, and the next run reads it"
                        " again."
                    )
                wanted *= 2
                self._under_way.clear()
                self._read = max(0, first_rank - (0 if page.rows else size))
                continue
            wanted = max(OVERLAP, wanted // 2)
            if self._settle(page, first_rank, size):
                return
            self._ask_ahead(self._overlap(wanted))

    def fetch(self, number: int, size: int) -> Page:
        """One page, counted and noted as seen."""
        asked = self._under_way.pop((number, size), None)
        page = asked.result() if asked else self._listing._fetch_page(number, size, self._since)
        self.pages += 1
        if self.pages == 1:
            self.began_at = page.observed_at
            self.top = self.keys(page.rows)
        if page.total is not None:
            known = page.total if self.total is None else self.least_total
            self.least_total = min(page.total, known)
            self.total = page.total
        self._listing.seen.update(self.keys(page.rows))
        return page

    def _ask_ahead(self, overlap: int) -> None:
        """Ask for the pages that come next if all stays where it is: as many as the API's total
        tells of, else twice as many as the last time, so that few are asked for in vain."""
        if self._listing._ahead is None:
            return
        most = self._listing._ahead.pages()
        if self.total is None:
            most = min(most, 2 * self.pages, MOST_IN_VAIN)
        read = self._read
        while len(self._under_way) < most and (self.total is None or read < self.total):
            page = next_page(read, largest=self._size, overlap=overlap)
            if page not in self._under_way:
                self._under_way[page] = self._listing._ahead.submit(
                    self._listing._fetch_page, *page, self._since
                )
            read = page[0] * page[1]

    def keys(self, rows: list[Record]) -> list[Key]:
        """Each row's id and activity."""
        field = self._listing._activity_field
        return [(_plain(row.get("id")), _plain(row.get(field or ""))) for row in rows]

    def _overlap(self, wanted: int) -> int:
        is_tied = self._listing._activity_field and self._edges.issuperset(self._tail)
        return min(max(wanted, TIED_OVERLAP if is_tied else 0), self._size // 4)

    def _begin(self, page: Page) -> int:
        """Start from the top; learn the largest page, which may be smaller than asked for."""
        self._settled.clear()
        self._edges.clear()
        shown = len(page.rows)
        has_more = page.is_last is False or (page.total or 0) > shown
        stated = shown if has_more else max(shown, page.per_page or self._size)
        if stated >= LEAST_PAGE:
            self._size = min(self._size, stated)
        return self._size

    def _check_that_it_ends(self, page: Page, number: int, size: int) -> None:
        keys = self.keys(page.rows)
        if number > 1 and len(keys) == size and keys == self.top[:size]:
            raise PageLoopError(
                f"page {number} of {size} shows what page 1 showed: the list does not advance."
                " Does the server understand `page`?"
            )
        if self.pages > MOST_PAGES + 4 * len(self._listing.seen) // self._size:
            raise ListingUnsettledError(
                f"the list grew as fast as it was read, for {self.pages} pages."
                " What came is stored; the list is not taken as complete, and the next run"
                " reads it again."
            )

    def _is_joined(self, rows: list[Record]) -> bool:
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
        if page.is_last is False or (page.total is not None and page.total > reached):
            return len(keys) < size and not has_advanced
        return len(keys) < size or page.is_last is True


_UNREAD: Final = object()


def _plain(value: Any) -> Any:
    """A value as a key: JSON's lists and objects cannot be one."""
    return repr(value) if isinstance(value, list | dict) else value


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
