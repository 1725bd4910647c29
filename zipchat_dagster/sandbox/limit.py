"""The rate limit: requests counted in windows of time."""

from __future__ import annotations

import math
from collections.abc import Callable

from zipchat_dagster.sandbox.options import LimitOptions

NO_LIMIT = 1_000_000


class RateLimit:
    """The current window and what was spent in it. Times are in Unix seconds."""

    def __init__(self, options: LimitOptions, clock: Callable[[], float]) -> None:
        self.start = -math.inf
        self._options = options
        self._clock = clock
        self._spent = 0

    def spend(self, requests: int) -> None:
        """Count requests in the window of now."""
        options, now = self._options, self._clock()
        # A clock that was set back starts a new window too.
        if not self.start <= now < self.start + options.window:
            is_aligned = options.window_alignment == "clock"
            self.start = math.floor(now / options.window) * options.window if is_aligned else now
            self._spent = 0
        self._spent += requests

    @property
    def is_over(self) -> bool:
        return self._spent > self._limit

    @property
    def _limit(self) -> int:
        return NO_LIMIT if self._options.limit is None else self._options.limit

    def headers(self) -> dict[str, str]:
        """The headers of an answer in this window."""
        options = self._options
        end = self.start + options.window
        headers = {}
        if options.rate_limit_headers:
            reset = end - self._clock() if options.reset_format == "seconds" else end
            text = f"{reset:.3f}"
            if options.reset_rounding != "exact":
                text = str((math.ceil if options.reset_rounding == "ceil" else math.floor)(reset))
            headers = {
                "X-RateLimit-Limit": str(self._limit),
                "X-RateLimit-Remaining": str(max(self._limit - self._spent, 0)),
                "X-RateLimit-Reset": text,
            }
        if options.retry_after and self.is_over:
            headers["Retry-After"] = str(max(math.ceil(end - self._clock()), 0))
        return headers
