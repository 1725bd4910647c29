"""What can go wrong between us and the Zipchat Backend API.

    ZipchatError
    ├── SettingError              a setting is missing or malformed; raised before any call
    ├── CallError                 a call failed; carries its method and path
    │   ├── UnreachableError      no answer: connection refused, time-out, broken off
    │   ├── MalformedAnswerError  an answer that is not the documented JSON
    │   └── StatusError           an answer with an error status; carries the API's own words
    │       ├── UnauthorizedError     401 or 403: the key is refused
    │       │   └── ChatNotFoundError 404 for the chat as a whole
    │       ├── NotFoundError         404 for a conversation or a user
    │       ├── UnprocessableError    422
    │       ├── RateLimitedError      429
    │       ├── ServerError           500 and above
    │       └── UnexpectedStatusError anything else, such as a redirect
    ├── BudgetDownError           the database of the request budget went away and stayed away
    ├── PageLoopError             pages that repeat themselves instead of advancing
    └── ListingUnsettledError     a list that changed faster than it could be read

No message contains the API key or a customer's data: a body that is not an error object of the
API is described by its type and length, never quoted. Each message is one line of printable
characters, so the API's own words cannot forge a line of a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ZipchatError(Exception):
    """Anything that this package raises about the Zipchat API."""


class SettingError(ZipchatError, ValueError):
    """A setting is missing or malformed. The message says what to write instead."""


class CallError(ZipchatError):
    """A call failed. `method` and `path` say which one, `detail` says why."""

    def __init__(self, detail: str, *, method: str, path: str) -> None:
        detail = printable(detail)
        super().__init__(f"{method} {path}: {detail}")
        self.detail = detail
        self.method = method
        self.path = path


class UnreachableError(CallError):
    """No complete answer came. `was_sent` is False if the request was certainly never sent."""

    def __init__(self, detail: str, *, method: str, path: str, was_sent: bool) -> None:
        super().__init__(detail, method=method, path=path)
        self.was_sent = was_sent


class MalformedAnswerError(CallError):
    """The answer is not JSON, was cut short, or lacks what the documentation promises."""


class StatusError(CallError):
    """The API answered with an error status; `api_message` is its own explanation, if it sent
    one."""

    hint = ""

    def __init__(
        self, status: int, api_message: str | None, *, method: str, path: str, hint: str = ""
    ) -> None:
        answer = f"the API answered {status}" + (f" “{api_message}”" if api_message else "")
        hint = hint or self.hint
        super().__init__(answer + (f". {hint}" if hint else ""), method=method, path=path)
        self.status = status
        self.api_message = api_message


class UnauthorizedError(StatusError):
    """401 or 403: the key is missing, wrong, revoked, or not allowed to do this."""

    hint = (
        "Check the API key: it starts with zc- and is shown once, under Settings > Integrations >"
        " Backend API."
    )


class ChatNotFoundError(UnauthorizedError):
    """404 for the chat: it does not exist, or the key has no access to it."""


class NotFoundError(StatusError):
    """404: the chat has no such conversation or user."""


class UnprocessableError(StatusError):
    """422: the API refuses a parameter."""


class RateLimitedError(StatusError):
    """429, even after waiting for the end of several windows."""

    hint = "Other programs seem to use up this key's whole rate limit."


class ServerError(StatusError):
    """500 and above."""


class UnexpectedStatusError(StatusError):
    """A status that the documentation does not mention."""

    hint = "Check the base URL. Redirects are not followed, so that the key stays where it is."


class BudgetDownError(ZipchatError):
    """The database with the shared request budget cannot be reached. It may come back."""


class PageLoopError(ZipchatError):
    """A list with pages that repeat, so that reading it would never end."""


class ListingUnsettledError(ZipchatError):
    """A list that kept changing. The rows that were read are good, but some may be missing."""


def printable(text: str) -> str:
    """The text with line breaks, control characters and the like written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Retry(Enum):
    """What to do after a failed call."""

    NEVER = "never"
    READS = "reads only: a write may have been carried out"
    ALWAYS = "reads and writes: the call was certainly not carried out"


# 429 gets here only after the budget has waited for several windows in vain (see budget.py).
STATUSES: Mapping[int, tuple[type[StatusError], Retry]] = MappingProxyType(
    {
        401: (UnauthorizedError, Retry.NEVER),
        403: (UnauthorizedError, Retry.NEVER),
        404: (NotFoundError, Retry.NEVER),
        408: (UnexpectedStatusError, Retry.READS),
        422: (UnprocessableError, Retry.NEVER),
        429: (RateLimitedError, Retry.NEVER),
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
        case ServerError() | MalformedAnswerError():
            return Retry.READS
        case StatusError():
            return STATUSES.get(error.status, (None, Retry.NEVER))[1]
        case UnreachableError():
            return Retry.READS if error.was_sent else Retry.ALWAYS
    return Retry.NEVER
