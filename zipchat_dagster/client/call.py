"""One call: sent through the budget, retried where that may help, its answer decoded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from random import uniform
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import httpx
import tenacity

from zipchat_dagster.client.answers import LONGEST_WORDS, Json, api_message, decoded
from zipchat_dagster.client.budget import Budget, BudgetTransport, date_of
from zipchat_dagster.client.errors import (
    MalformedAnswerError,
    Retry,
    UnreachableError,
    error_for,
    retry_after,
)

T = TypeVar("T")

ATTEMPTS: Final = 5  # in all, for one call
# Seconds before the second attempt, and how many times as long each later pause is. The first one
# is short: most faults pass at once, and a paused call keeps its place among those in flight.
FIRST_PAUSE: Final = 0.05
PAUSE_GROWTH: Final = 5.0
NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)


class Caller:
    """Sends calls to one base URL with one key. Thread-safe.

    Args:
        network: what to send requests through.
        timeout: seconds for one answer.

    Attributes:
        has_answered: whether any call has succeeded.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        network: httpx.BaseTransport,
        budget: Budget,
        timeout: float,
        logger: logging.Logger,
    ) -> None:
        self.has_answered = False
        self._budget = budget
        self._logger = logger
        self._base_url = base_url
        self._transport = BudgetTransport(network, budget)
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "zipchat-dagster",
        }
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}

    def call(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        *,
        query: Mapping[str, Any] | None = None,
        json_body: Json | None = None,
    ) -> tuple[T, datetime]:
        """Send one request, with retries. Returns what `read` makes of the decoded body, and the
        server's time (UTC).

        Args:
            read: raises MalformedAnswerError if the body lacks what it should have.
            query: parameters; those that are None are left out.

        Raises:
            CallError: as in `errors.py`.
            RuntimeError: the client was closed.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: self._may_retry(method, error)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause_after,
            sleep=self._budget.pause,
            before_sleep=self._log_retry,
            reraise=True,
        )
        return retrying(self._call_once, method, path, read, query, json_body)

    def close(self) -> None:
        """Close the budget and the connections."""
        self._transport.close()

    def _call_once(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        query: Mapping[str, Any] | None,
        json_body: Json | None,
    ) -> tuple[T, datetime]:
        response = self._response(method, path, query, json_body)
        if not response.is_success:
            raise error_for(response.status_code)(
                response.status_code, api_message(response), method=method, path=path
            )
        try:
            body = decoded(response.content)
        except (ValueError, RecursionError):
            kind = response.headers.get("Content-Type", "no content type")[:LONGEST_WORDS]
            raise MalformedAnswerError(
                f"the answer is not JSON ({kind}, {len(response.content)} bytes)."
                + ("" if self.has_answered else " Check the base URL."),
                method=method,
                path=path,
            ) from None
        result = read(body)
        self.has_answered = True
        at = date_of(response)
        return result, datetime.fromtimestamp(self._budget.clock.time() if at is None else at, UTC)

    def _response(
        self, method: str, path: str, query: Mapping[str, Any] | None, json_body: Json | None
    ) -> httpx.Response:
        """The whole answer. Without httpx's client: its cookies, redirects and authentication are
        not wanted here, and cost a tenth of a sync's CPU."""
        params = {name: value for name, value in (query or {}).items() if value is not None}
        request = httpx.Request(
            method,
            f"{self._base_url}{path}{'?' if params else ''}{urlencode(params)}",
            headers=self._headers,
            json=json_body,
            extensions=self._extensions,
        )
        try:
            response = self._transport.handle_request(request)
            response.request = request
            with closing(response):
                response.read()
            return response
        except httpx.DecodingError:
            raise MalformedAnswerError(
                "the answer's compression is broken.", method=method, path=path
            ) from None
        except httpx.TransportError as error:
            cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise UnreachableError(
                f"no answer from {httpx.URL(self._base_url).host} ({cause})."
                + ("" if self.has_answered else " Check the base URL and the network."),
                was_sent=not isinstance(error, NEVER_SENT),
                method=method,
                path=path,
            ) from None

    def _may_retry(self, method: str, error: BaseException) -> bool:
        if not self.has_answered and isinstance(error, UnreachableError) and not error.was_sent:
            return False  # a wrong address gets one clear sentence, not a row of retries
        verdict = retry_after(error)
        return verdict is Retry.ALWAYS or (verdict is Retry.READS and method == "GET")

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self._logger.warning(
            f"{str(error).rstrip('.')}. Retrying in {pause:.1f} s"
            f" (attempt {state.attempt_number + 1} of {ATTEMPTS})."
        )


def _pause_after(state: tenacity.RetryCallState) -> float:
    """Seconds, with up to half more, so that calls that failed together are not sent together."""
    return FIRST_PAUSE * float(PAUSE_GROWTH ** (state.attempt_number - 1)) * uniform(1, 1.5)
