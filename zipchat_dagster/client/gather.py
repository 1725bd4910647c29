"""Many calls at once: outcomes come in batches, and calls go on while a batch is being stored."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Outcome = tuple[T, R | Exception]

# A batch is complete at whichever comes first. A killed process loses what is in an unfinished one.
# While a complete one waits to be stored, no further calls begin.
BATCH_SIZE: Final = 4_000
BATCH_SECONDS: Final = 1.0
FAILURE_SIZE: Final = 200  # twenty make a batch, so that an API that is down is noticed soon


class Gathering(Generic[T, R]):
    """Calls `function` for each item on several threads. Iterate it once, from one thread.

    Yields lists of (item, result or the exception it raised), in the order of completion.
    Abandoning the iteration starts no further calls, and does not wait for those under way. Nor
    does the process when it ends, or a call without an answer would hold up a terminated run.

    Args:
        function: one call. An Exception it raises becomes the outcome of its item; any other
            BaseException ends the iteration.
        in_flight: how many calls may be under way now.
        size: how much a result adds to its batch.
        time: the time in seconds.
    """

    def __init__(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        in_flight: Callable[[], int],
        size: Callable[[R], int],
        time: Callable[[], float],
    ) -> None:
        self._function = function
        self._items = deque(items)
        self._in_flight = in_flight
        self._size = size
        self._time = time
        self._changed = threading.Condition()
        self._under_way = 0
        self._waiting: list[Outcome[T, R]] = []  # done, not yielded yet
        self._waiting_size = 0
        self._waiting_since = 0.0
        self._fatal: BaseException | None = None

    def __iter__(self) -> Iterator[list[Outcome[T, R]]]:
        try:
            with self._changed:
                self._call_next()
            while batch := self._next_batch():
                yield batch
        finally:
            with self._changed:
                self._items.clear()

    def _next_batch(self) -> list[Outcome[T, R]]:
        """The next batch, as soon as it is complete; an empty one at the end."""
        with self._changed:
            while not self._is_complete():
                is_begun = bool(self._waiting)
                left = self._waiting_since + BATCH_SECONDS - self._time()
                self._changed.wait(left if is_begun else None)
            if self._fatal:
                raise self._fatal
            batch, self._waiting, self._waiting_size = self._waiting, [], 0
            self._call_next()
            return batch

    def _is_complete(self) -> bool:
        if self._fatal or not (self._under_way or self._items):
            return True
        is_old = self._time() - self._waiting_since >= BATCH_SECONDS
        return self._waiting_size >= BATCH_SIZE or (bool(self._waiting) and is_old)

    def _call_next(self) -> None:
        """Start as many calls as there is room for; with the lock held."""
        while (
            self._items and self._under_way < self._in_flight() and self._waiting_size < BATCH_SIZE
        ):
            item = self._items.popleft()
            self._under_way += 1
            threading.Thread(target=self._call, args=(item,), daemon=True).start()

    def _call(self, item: T) -> None:
        """One call, on a thread of its own."""
        outcome: R | Exception
        try:
            try:
                outcome = self._function(item)
            except Exception as error:
                outcome = error
            with self._changed:
                self._take(item, outcome)
                self._call_next()
        except BaseException as error:
            with self._changed:
                self._fatal = error
                self._changed.notify()

    def _take(self, item: T, outcome: R | Exception) -> None:
        """Add an outcome to the batch; with the lock held."""
        self._under_way -= 1
        if not self._waiting:
            self._waiting_since = self._time()
        self._waiting.append((item, outcome))
        self._waiting_size += (
            FAILURE_SIZE if isinstance(outcome, Exception) else self._size(outcome)
        )
        self._changed.notify()
