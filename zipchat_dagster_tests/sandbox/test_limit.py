"""The rate limit, with each way of counting and reporting it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from zipchat_dagster.sandbox import Fault
from zipchat_dagster_tests.sandbox.support import NOW, Api


def limits(response: httpx.Response) -> tuple[int, int, int, str]:
    headers = response.headers
    return (
        response.status_code,
        int(headers["X-RateLimit-Limit"]),
        int(headers["X-RateLimit-Remaining"]),
        headers["X-RateLimit-Reset"],
    )


def test_a_window_can_be_a_minute_of_the_clock() -> None:
    api = Api(limit=3)
    reset = str(int(NOW.timestamp()) - 12 + 60)
    seen = [limits(api.get("/users")) for _ in range(4)]
    assert seen == [(200, 3, 2, reset), (200, 3, 1, reset), (200, 3, 0, reset), (429, 3, 0, reset)]
    response = api.get("/users")
    assert response.json() == {"error": "Rate limit exceeded"}
    assert "Retry-After" not in response.headers
    api.clock.now += 47.9
    assert api.get("/users").status_code == 429
    api.clock.now += 0.1
    assert limits(api.get("/users"))[:3] == (200, 3, 2)


def test_a_window_can_begin_with_the_first_request() -> None:
    api = Api(limit=1, window_alignment="first_request")
    api.clock.now += 0.25
    assert limits(api.get("/users")) == (200, 1, 0, str(int(NOW.timestamp()) + 61))
    api.clock.now += 59.75
    assert api.get("/users").status_code == 429
    api.clock.now += 30.5
    assert limits(api.get("/users")) == (200, 1, 0, str(int(NOW.timestamp()) + 151))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reset_rounding": "ceil"}, f"{NOW.timestamp() + 61:.0f}"),
        ({"reset_rounding": "floor"}, f"{NOW.timestamp() + 60:.0f}"),
        ({"reset_rounding": "exact"}, f"{NOW.timestamp() + 60.25:.3f}"),
        ({"reset_format": "seconds"}, "60"),
    ],
)
def test_the_reset_has_each_form(options: dict[str, Any], expected: str) -> None:
    api = Api(limit=5, window_alignment="first_request", **options)
    api.clock.now += 0.25
    assert limits(api.get("/users"))[3] == expected


def test_a_refusal_can_say_when_to_come_back_and_headers_can_be_missing() -> None:
    api = Api(limit=0, retry_after=True, rate_limit_headers=False)
    response = api.get("/users")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "48"
    assert not any(name.startswith("x-ratelimit") for name in response.headers)


def test_every_answer_counts_and_another_spender_too() -> None:
    api = Api(limit=10)
    api.sandbox.add_fault(Fault("503", endpoint="users"))
    assert limits(api.get("/users"))[:3] == (503, 10, 9)
    assert limits(api.get("/users/1"))[:3] == (404, 10, 8)
    assert limits(api.client.get("/users", headers={"Authorization": ""}))[:3] == (401, 10, 7)
    api.sandbox.spend(5)
    assert limits(api.get("/users"))[:3] == (200, 10, 1)
    assert limits(api.get("/users"))[:3] == (200, 10, 0)
    assert api.get("/users").status_code == 429


def test_without_a_limit_the_headers_state_a_million() -> None:
    assert limits(Api(limit=None).get("/users"))[:3] == (200, 1_000_000, 999_999)


def test_the_date_is_the_servers() -> None:
    api = Api(clock_offset=-90)
    assert parsedate_to_datetime(api.get("/users").headers["Date"]) == NOW - timedelta(seconds=90)
    assert api.sandbox.now() == NOW - timedelta(seconds=90)


def test_threads_share_one_limit() -> None:
    api = Api(limit=50)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: api.get("/users").status_code, range(80)))
    assert sorted(statuses) == [200] * 50 + [429] * 30
