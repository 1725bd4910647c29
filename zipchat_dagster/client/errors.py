"""What can go wrong between us and the Zipchat Backend API.

    ZipchatError
    ├── SettingError              a setting is missing or malformed; raised before any call
    ├── CallError                 a call failed; carries its method and path
    │   ├── UnreachableError      no answer: connection refused, time-out, broken off
    │   ├── MalformedAnswerError  an answer that is not the documented JSON
    │   └── StatusError           an answer with an error status; carries the API's own words
    │       ├── UnauthorizedError     401
    │       ├── NotFoundError         404
    │       ├── UnprocessableError    422
    │       ├── RateLimitedError      429
    │       ├── ServerError           500 and above
    │       └── UnexpectedStatusError anything else, redirects among them
    ├── PageLoopError             pages that repeat themselves instead of advancing
    ├── ListingUnsettledError     a list that moved faster than it could be read
    └── IncompleteError           fewer records than the API says there are

No message holds the API key or anything of a customer's: a body that is not an error object of
the API is described by its type and length, never quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ZipchatError(Exception):
    """Anything that this package raises about the Zipchat API."""


class SettingError(ZipchatError, ValueError):
    """A setting is missing or malformed. The message names it and says what to write."""


class CallError(ZipchatError):
    """A call failed. `method` and `path` say which, `detail` what happened."""

    def __init__(self, detail: str, *, method: str, path: str) -> None:
        super().__init__(f"{method} {path}: {detail}")
        self.detail = detail
        self.method = method
        self.path = path


class UnreachableError(CallError):
    """No whole answer came. `was_sent` is False when the request surely never left us."""

    def __init__(self, detail: str, *, method: str, path: str, was_sent: bool) -> None:
        super().__init__(detail, method=method, path=path)
        self.was_sent = was_sent


class MalformedAnswerError(CallError):
    """The answer is not JSON, was cut short, or lacks what the documentation promises."""


class StatusError(CallError):
    """The API answered with an error status; `api_message` holds its own words, if it gave any."""

    hint = ""

    def __init__(
        self, status: int, api_message: str | None, *, method: str, path: str, hint: str = ""
    ) -> None:
        said = f"the API answered {status}" + (f" “{api_message}”" if api_message else "")
        hint = hint or self.hint
        super().__init__(said + (f". {hint}" if hint else ""), method=method, path=path)
        self.status = status
        self.api_message = api_message


class UnauthorizedError(StatusError):
    """401: the key is missing, wrong or was revoked."""

    hint = (
        "Check ZIPCHAT_API_KEY: the key begins with zc- and is shown once, under"
        " Settings > Integrations > Backend API."
    )


class NotFoundError(StatusError):
    """404: no such chat for this key, or no such conversation or user in this chat."""


class UnprocessableError(StatusError):
    """422: a parameter that the API refuses."""


class RateLimitedError(StatusError):
    """429, again and again, although each window's end was waited for."""

    hint = "Other programs on this key seem to spend the whole budget."


class ServerError(StatusError):
    """500 and above."""


class UnexpectedStatusError(StatusError):
    """A status that the documentation does not know."""

    hint = "Check ZIPCHAT_BASE_URL: redirects are not followed, so that the key stays where it is."


class PageLoopError(ZipchatError):
    """A list whose pages repeat themselves; reading on would never end."""


class ListingUnsettledError(ZipchatError):
    """A list that kept moving. What was read is good, but nothing may be taken as complete."""


class IncompleteError(ZipchatError):
    """The API says that there are more records than it gave."""


class Retry(Enum):
    """What to do after a failed call."""

    NEVER = "never"
    READS = "reads only: nobody knows whether a write was carried out"
    ALWAYS = "reads and writes: the call was surely not carried out"


# 429 never reaches this table while the budget can wait for the window's end (see budget.py).
STATUSES: Mapping[int, tuple[type[StatusError], Retry]] = MappingProxyType(
    {
        401: (UnauthorizedError, Retry.NEVER),
        404: (NotFoundError, Retry.NEVER),
        408: (UnexpectedStatusError, Retry.READS),
        422: (UnprocessableError, Retry.NEVER),
        429: (RateLimitedError, Retry.NEVER),
        500: (ServerError, Retry.READS),
        502: (ServerError, Retry.READS),
        503: (ServerError, Retry.READS),
        504: (ServerError, Retry.READS),
    }
)


def error_for(status: int) -> type[StatusError]:
    """The class for an HTTP status that is not a success."""
    if status in STATUSES:
        return STATUSES[status][0]
    return ServerError if status >= 500 else UnexpectedStatusError


def retry_after(error: BaseException) -> Retry:
    """Whether the call that raised `error` may be sent again."""
    match error:
        case StatusError():
            default = Retry.READS if isinstance(error, ServerError) else Retry.NEVER
            return STATUSES.get(error.status, (None, default))[1]
        case UnreachableError():
            return Retry.READS if error.was_sent else Retry.ALWAYS
        case MalformedAnswerError():
            return Retry.READS
    return Retry.NEVER
