"""Reading a list by page numbers without losing rows while it moves.

Page numbers count from the top of a list that changes between two requests: what is deleted above
us, or jumps from above to below us, pulls unread rows over a page's edge, where they are never
seen; what is inserted pushes rows down and shows them twice. Nothing in the answers says so. And
nobody told us whether the list is ordered newest first, oldest first or by id. So:

1. **Overlap.** Each page is asked for with a page number and a page size that make it begin a few
   rows before the end of what was read. If it shows a row that was read before, has not changed
   since and stands before the edge, then nothing slipped through between the two pages, whatever
   the order. If it does not, we step back and ask again from further up. A page size of 80 to 100
   instead of 100 costs about a fifth more pages, which are 1 % of all requests; a second pass
   would cost as many again and prove less.
2. **Catch up.** What moved while we read has activity after we began. It is listed again from that
   time on, until one page holds it all: a single page cannot move under itself.
3. **Count.** Where the API states a total, fewer distinct rows than that mean another pass.

The server's clock (`Date`) is the only one used. All is bounded: what is still moving then raises
`ListingUnsettledError` after all rows were handed out, and nothing may be taken as complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from zipchat_dagster.client.errors import ListingUnsettledError, PageLoopError

Record = Mapping[str, Any]

LEAST_OVERLAP: Final = 5  # rows; more changes than that between two requests cost a step back
MARGIN: Final = timedelta(seconds=30)  # a change may become visible after the second it bears
MAX_PASSES: Final = 4  # whole passes when the API's total is not reached
MAX_ROUNDS: Final = 8  # rounds of catching up
MOST_PAGES: Final = 40  # of one pass, beyond four times what its rows need
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


class Listing:
    """Every record of a list that was active at or after `since` (None: every record).

    Iterate it once; it yields pages' rows as `(rows, observed_at)`, each record at least once and
    again whenever it was seen changed. Afterwards:

    - `as_of`: the server's time up to which the listing is complete: every record with activity
      in [since, as_of] was yielded. None until the iteration has ended.
    - `seen`: id → `last_message_at` as last seen.
    - `total`: the number of records as the API stated it last for the whole list, or None.

    Args:
        fetch_page: how to get one page.
        since: lower bound of the activity, inclusive.
        page_size: the largest page the API gives.
        activity_field: the field that moves a record within the list, None where none does.

    Raises while iterating:
        ListingUnsettledError: it kept moving, or fewer records came than the API states.
        PageLoopError: the pages repeat themselves.
    """

    def __init__(
        self,
        fetch_page: FetchPage,
        *,
        since: datetime | None = None,
        page_size: int = 100,
        activity_field: str | None = "last_message_at",
        logger: logging.Logger | None = None,
    ) -> None:
        self.as_of: datetime | None = None
        self.seen: dict[Any, Any] = {}
        self.total: int | None = None
        self._fetch_page = fetch_page
        self._since = since
        self._page_size = page_size
        self._activity_field = activity_field
        self._logger = logger or logging.getLogger("zipchat_dagster")

    def __iter__(self) -> Iterator[tuple[list[Record], datetime]]:
        for _ in range(MAX_PASSES):
            reading = _Pass(self, since=self._since)
            yield from reading
            as_of = reading.began_at
            # When every page stood exactly where it was expected, nothing jumped over us.
            if not reading.is_quiet and self._activity_field is not None:
                as_of = yield from self._catch_up(as_of)
            self.total = reading.total
            if len(self.seen) >= reading.least_total:
                self.as_of = as_of
                return
            self._logger.info(
                f"The API states {reading.total} records and showed {len(self.seen)};"
                " the list is read again."
            )
        raise ListingUnsettledError(
            f"the API states {self.total} records and showed {len(self.seen)},"
            f" {MAX_PASSES} times in a row. What came is stored; the list is not taken as"
            " complete, and the next run reads it again."
        )

    def _catch_up(self, began_at: datetime) -> Iterator[tuple[list[Record], datetime]]:
        """List what was active since `began_at` until one page holds it. Returns complete as of."""
        for _ in range(MAX_ROUNDS):
            reading = _Pass(self, since=began_at - MARGIN)
            yield from reading
            if reading.pages == 1 or reading.is_quiet:
                return reading.began_at
            began_at = reading.began_at
        raise ListingUnsettledError(
            f"more than {self._page_size} conversations a round were active while the list was"
            f" read, {MAX_ROUNDS} rounds in a row. What came is stored; the list is not taken as"
            " complete, and the next run reads it again."
        )


class _Pass:
    """One pass over the list from its top; see the module's docstring, 1."""

    def __init__(self, listing: Listing, *, since: datetime | None) -> None:
        self.began_at: datetime
        self.is_quiet = True
        self.pages = 0
        self.total: int | None = None
        self.least_total = 0
        self._listing = listing
        self._since = since
        self._size = listing._page_size
        self._settled: dict[Any, Any] = {}  # id → activity, of rows up to the proven edge
        self._edge: list[Record] = []  # the last proven page
        self._read = 0  # rank of the last proven row

    def __iter__(self) -> Iterator[tuple[list[Record], datetime]]:
        steps_back = 0
        top: list[Any] = []
        overlap = LEAST_OVERLAP
        while True:
            number, size = next_page(self._read, largest=self._size, overlap=overlap)
            page = self._fetch(number, size)
            yield page.rows, page.observed_at
            if number == 1 and page.rows:
                # The server's largest page may be smaller than what we ask for.
                stated = len(page.rows) if page.is_last is False else page.per_page
                self._size = size = min(size, stated or size)
            ids = [self._id(row) for row in page.rows]
            top = top or ids
            if number > 1 and len(ids) == size and ids == top[:size]:
                raise PageLoopError(
                    f"page {number} of {size} shows what page 1 showed: the list does not advance."
                    " Does the server understand `page`?"
                )
            if self.pages > MOST_PAGES + len(self._settled) // (self._size // 4 or 1):
                raise ListingUnsettledError(
                    f"the list grew as fast as it was read, for {self.pages} pages."
                    " What came is stored; the list is not taken as complete, and the next run"
                    " reads it again."
                )
            first_rank = (number - 1) * size
            if number > 1 and not self._is_joined(page.rows, first_rank):
                self.is_quiet = False
                steps_back += 1
                if steps_back > MAX_STEPS_BACK + self.pages // 10:
                    raise ListingUnsettledError(
                        f"the list moved by more than {overlap} rows between two requests,"
                        f" {steps_back} times. What came is stored; the list is not taken as"
                        " complete, and the next run reads it again."
                    )
                overlap = min(overlap * 2, self._size // 2)
                self._read = max(0, first_rank - (0 if page.rows else size))
                continue
            overlap = LEAST_OVERLAP
            self._settled.update((self._id(row), self._activity(row)) for row in page.rows)
            self._edge = page.rows or self._edge
            self._read = first_rank + len(page.rows)
            is_all_stated = page.total is not None and self._read >= page.total
            if len(page.rows) < size or page.is_last or is_all_stated:
                return

    def _fetch(self, number: int, size: int) -> Page:
        page = self._listing._fetch_page(number, size, self._since)
        self.pages += 1
        if self.pages == 1:
            self.began_at = page.observed_at
        if page.total is not None:
            if self.total is not None and page.total != self.total:
                self.is_quiet = False
            self.least_total = min(page.total, self.least_total or page.total)
            self.total = page.total
        for row in page.rows:
            self._listing.seen[self._id(row)] = self._activity(row)
        return page

    def _is_joined(self, rows: list[Record], first_rank: int) -> bool:
        """Whether nothing can have slipped through between the proven rows and this page."""
        expected = self._edge[-(self._read - first_rank) :] if self._read > first_rank else []
        stands_still = bool(expected) and (
            [(self._id(row), self._activity(row)) for row in rows[: len(expected)]]
            == [(self._id(row), self._activity(row)) for row in expected]
        )
        if stands_still:
            return True
        self.is_quiet = False
        # Rows of the edge's own second may change places, so they prove nothing.
        edge = self._activity(self._edge[-1]) if self._edge else None
        for row in rows:
            activity = self._settled.get(self._id(row), _UNREAD)
            if activity is not _UNREAD and activity == self._activity(row):
                if self._listing._activity_field is None or activity != edge:
                    return True
        return False

    def _id(self, row: Record) -> Any:
        return row.get("id")

    def _activity(self, row: Record) -> Any:
        field = self._listing._activity_field
        return None if field is None else row.get(field)


_UNREAD: Final = object()


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
