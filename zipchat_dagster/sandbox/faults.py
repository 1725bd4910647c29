"""What can go wrong with a request, and which request it strikes."""

from __future__ import annotations

from typing import Final, Literal

from pydantic.dataclasses import dataclass

from zipchat_dagster.sandbox.routing import WRITES, Endpoint, Request

FaultKind = Literal[
    "403",
    "404",
    "500",
    "503",
    "slow",
    "timeout",
    "disconnect",
    "reset",
    "closed",
    "truncated",
    "not_json",
    "lost_write",
]
# Faults that answer with a status and an error in the API's own form.
ERRORS: Final[dict[str, str]] = {
    "403": "Forbidden",
    "404": "Conversation not found",
    "500": "Internal server error",
}


@dataclass(slots=True)
class Fault:
    """A fault that strikes the next `times` matching requests (None: all of them).

    A request matches if it is for this `endpoint` and names this conversation. What is None matches
    everything.

    Args:
        kind: "403", "404" and "500" answer with that status, "503" and "not_json" with HTML instead
            of JSON. "timeout" never answers, and "disconnect" closes the connection. All of these
            change nothing. "slow" answers after `Sandbox.slow_seconds`, "truncated" cuts the answer
            in half, "reset" breaks the connection in the middle of it, and "closed" closes it after
            a whole answer without notice. "lost_write" carries out a write and then closes the
            connection.
        after: so many matching requests are answered normally first.

    Raises:
        ValueError: there is no such kind or endpoint.
    """

    kind: FaultKind
    endpoint: Endpoint | None = None
    conversation_id: int | None = None
    times: int | None = 1
    after: int = 0

    def strikes(self, request: Request) -> bool:
        """Whether this request fails. Counts it if it matches."""
        if not self._matches(request):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _matches(self, request: Request) -> bool:
        return (
            self.times != 0
            and self.endpoint in (None, request.endpoint)
            and self.conversation_id in (None, request.conversation_id)
            and (self.kind != "lost_write" or request.endpoint in WRITES)
        )
