"""Every option of the sandbox, in three groups.

`Sandbox` takes them as keywords. The command line's flags are made from the annotations, and its
headings are the classes' docstrings. Tests may change options at any time, as the control call
`/_sandbox/set` does over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from zipchat_dagster.sandbox.chat import LIFELIKE, ChangeKind
from zipchat_dagster.sandbox.faults import FaultKind

Order = Literal["desc", "asc", "id"]
MessageOrder = Literal["asc", "desc"]
Pagination = Literal["none", "meta", "pagination"]


@dataclass(kw_only=True)
class AnswerOptions:
    """what the documentation of the API leaves open"""

    order: Annotated[Order, "conversations: newest activity first, oldest first, or by id"] = "desc"
    shuffle_ties: Annotated[bool, "conversations of one second come in random order"] = False
    message_order: Annotated[MessageOrder, "a conversation's messages: oldest or newest first"] = (
        "asc"
    )
    pagination: Annotated[Pagination, "what a page says about the other pages"] = "none"
    largest_page: Annotated[int | None, "most records on a page, whatever size is asked for"] = None
    total_error: Annotated[int, "added to every stated total"] = 0
    totals_ignore_since: Annotated[bool, "totals count all records, not only those asked for"] = (
        False
    )
    wrap: Annotated[bool, "one conversation or user comes under its name, or bare"] = True
    error_key: Annotated[Literal["error", "message"], "field of an error's text"] = "error"
    id_type: Annotated[Literal["int", "str"], "ids as numbers or as strings of digits"] = "int"
    user_name: Annotated[
        Literal["full_name", "name", "first_last"],
        "field of a user's name; first_last: first_name and last_name",
    ] = "full_name"
    reescalation_resolved: Annotated[
        Literal["keep", "clear"],
        "a new escalation keeps or clears the resolution of the one before",
    ] = "keep"


@dataclass(kw_only=True)
class LimitOptions:
    """the rate limit"""

    limit: Annotated[int | None, "requests per window"] = 120
    window: Annotated[float, Field(gt=0), "seconds per window"] = 60
    window_alignment: Annotated[
        Literal["clock", "first_request"],
        "windows start at multiples of their length, or with the first request",
    ] = "clock"
    rate_limit_headers: Annotated[bool, "answers have X-RateLimit headers"] = True
    reset_format: Annotated[
        Literal["unix", "seconds"], "X-RateLimit-Reset as a Unix time or as seconds from now"
    ] = "unix"
    reset_rounding: Annotated[
        Literal["ceil", "floor", "exact"], "X-RateLimit-Reset in whole seconds or exactly"
    ] = "ceil"
    retry_after: Annotated[bool, "a 429 has a Retry-After header"] = False


@dataclass(kw_only=True)
class TroubleOptions:
    """trouble"""

    latency: Annotated[float, "seconds before each answer"] = 0.0
    slow_seconds: Annotated[float, "additional seconds before a slow answer (a fault)"] = 2.0
    fault_rate: Annotated[float, "share of requests that fail, 0 to 1"] = 0.0
    fault_kinds: Annotated[tuple[FaultKind, ...], "how they fail"] = (
        "500",
        "503",
        "disconnect",
        "truncated",
    )
    mutate_every: Annotated[int, "a change to the chat before every n-th request; 0: none"] = 0
    mutate_kinds: Annotated[
        tuple[ChangeKind, ...], Field(min_length=1), "which changes; some are likelier"
    ] = LIFELIKE
    clock_offset: Annotated[float, "seconds that the server's clock is ahead"] = 0.0


@dataclass(kw_only=True)
class Options(LimitOptions, AnswerOptions, TroubleOptions):
    """All options."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")


GROUPS: Final[tuple[type, ...]] = (LimitOptions, AnswerOptions, TroubleOptions)
OPTIONS: Final = tuple(option.name for option in fields(Options))
CHECKED: Final = TypeAdapter(Options)
