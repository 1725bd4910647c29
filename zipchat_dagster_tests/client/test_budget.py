"""The budget: one SQLite file for all processes, and the transport that no call bypasses."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from zipchat_dagster.client.budget import LONGEST_SLEEP, MAX_REFUSALS, Budget, BudgetTransport
from zipchat_dagster.client.errors import SettingError
from zipchat_dagster.client.window import PROBE_PATIENCE, Answer, Window
from zipchat_dagster.sandbox import BASE_URL, DEFAULT_KEY, Chat, Fault, Sandbox, serve
from zipchat_dagster_tests.client.processes import call_together
from zipchat_dagster_tests.conftest import Clock, disk_full_at

# 12.25 seconds into a minute of the clock.
NOW = datetime(2026, 3, 4, 15, 30, 12, 250_000, tzinfo=UTC).timestamp()
USER = f"{BASE_URL}/chats/1/users/1"


class Bench:
    """A sandbox, budgets on one file, and a client for each, all by one clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(NOW)
        self.path = folder / "budget.sqlite"
        self.sandbox = Sandbox(chat=Chat(), clock=self.clock.time, sleep=self.clock.sleep)
        self.transports: list[BudgetTransport] = []

    def budget(self, key: str = DEFAULT_KEY, **options: Any) -> Budget:
        return Budget(key, database=self.path, clock=self.clock, **options)

    def client(self, **options: Any) -> tuple[httpx.Client, Budget]:
        budget = self.budget(**options)
        transport = BudgetTransport(self.sandbox.transport(), budget)
        self.transports.append(transport)
        headers = {"Authorization": f"Bearer {DEFAULT_KEY}"}
        return httpx.Client(transport=transport, headers=headers), budget

    def close(self) -> None:
        for transport in self.transports:
            transport.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def call(client: httpx.Client, times: int = 1) -> list[int]:
    return [client.get(USER).status_code for _ in range(times)]


# Sharing


def test_two_programs_on_one_file_share_one_window(bench: Bench) -> None:
    one, budget = bench.client()
    other, _ = bench.client()
    for _ in range(150):
        call(one)
        call(other)
    stats = bench.sandbox.stats()
    assert stats["refused"] == 0
    assert [number for _, number in stats["windows"]] == [120, 120, 60]
    assert budget.requests == 150


def test_another_key_has_another_window(bench: Bench) -> None:
    with closing(bench.budget("zc-one")) as one, closing(bench.budget("zc-two")) as two:
        one.settle(one.acquire(), Answer(NOW, NOW, 200, limit=120, remaining=7, reset=NOW + 40))
        assert two.window() == Window()
        assert one.window().spent == 113


def test_without_a_file_nothing_is_shared(bench: Bench) -> None:
    with closing(Budget("zc-one")) as one, closing(Budget("zc-one")) as two:
        one.acquire()
        assert not two.window().permits


def test_the_file_and_its_folder_are_created(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "budget.sqlite"
    Budget("zc-one", database=path).close()
    assert path.exists()


def test_the_state_of_the_window_survives_a_restart(bench: Bench) -> None:
    client, budget = bench.client()
    call(client, 3)
    known = budget.window()
    bench.close()
    with closing(bench.budget()) as again:
        assert again.window() == known
        assert again.window().spent == 3


def test_permits_of_a_killed_process_soon_stop_counting(bench: Bench) -> None:
    client, _ = bench.client()
    bench.clock.now += 40
    call(client)
    with closing(bench.budget()) as killed:
        for _ in range(119):
            killed.acquire()
    assert call(client, 100) == [404] * 100
    assert bench.clock.now - NOW <= 40 + PROBE_PATIENCE + 0.1


def test_threads_of_one_client_never_overspend(tmp_path: Path) -> None:
    # A window that no minute's end cuts in two.
    sandbox = Sandbox(chat=Chat(), limit=10_000, window_alignment="first_request")
    with serve(sandbox) as base_url:
        budget = Budget(DEFAULT_KEY, database=tmp_path / "budget.sqlite")
        with (
            httpx.Client(transport=BudgetTransport(httpx.HTTPTransport(), budget)) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            url = f"{base_url}/chats/1/users/1"
            assert set(pool.map(lambda _: client.get(url).status_code, range(200))) == {401}
            window = budget.window()
            assert (budget.requests, window.spent, window.permits) == (200, 200, {})


def test_creating_the_file_many_times_at_once_does_not_collide(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.sqlite"
        together = threading.Barrier(6)

        def make(path: Path = path, together: threading.Barrier = together) -> str:
            together.wait()
            with closing(Budget("zc-one", database=path)) as budget:
                return "fresh" if budget.window() == Window() else "not fresh"

        with ThreadPoolExecutor(6) as pool:
            made = [pool.submit(make) for _ in range(6)]
            assert [one.result() for one in made] == ["fresh"] * 6


def test_processes_share_every_window(tmp_path: Path) -> None:
    sandbox = Sandbox(chat=Chat(), limit=30, window=1)
    call_together(sandbox, tmp_path / "budget.sqlite", clocks=[0.0] * 3)
    assert sandbox.stats()["refused"] == 0
    assert sandbox.stats()["requests"] == 75


# Refusals


def test_a_429_is_sent_again_in_the_next_window(bench: Bench) -> None:
    client, budget = bench.client()
    call(client)
    bench.sandbox.spend(500)
    assert call(client) == [404]
    assert (budget.requests, budget.refused) == (3, 1)
    assert 48 <= budget.waited_seconds <= 50


def test_a_write_that_was_refused_is_sent_again(bench: Bench) -> None:
    client, _ = bench.client()
    bench.sandbox.spend(500)
    response = client.post(f"{BASE_URL}/chats/1/conversations/1/messages", json={"message": "Hi"})
    assert response.status_code == 404
    assert bench.sandbox.stats()["by_endpoint"]["message"] == 1


@pytest.mark.parametrize("has_headers", [True, False])
def test_a_429_that_never_ends_is_passed_on(bench: Bench, has_headers: bool) -> None:
    bench.sandbox.limit = 0
    bench.sandbox.rate_limit_headers = has_headers
    client, budget = bench.client()
    response = client.get(USER)
    assert response.status_code == 429
    assert response.json() == {"error": "Rate limit exceeded"}
    assert budget.refused == MAX_REFUSALS
    assert bench.clock.now - NOW <= MAX_REFUSALS * 120


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Limit": "inf", "X-RateLimit-Remaining": "nan", "X-RateLimit-Reset": "1e999"},
        {"X-RateLimit-Limit": "120, 120;w=60", "X-RateLimit-Reset": "2026-03-04T15:31:00Z"},
        {"Date": "yesterday", "Retry-After": "Wed, 04 Mar 2026 15:31:00 GMT"},
        {"X-RateLimit-Remaining": "-3", "X-RateLimit-Reset": "-1", "Retry-After": "soon"},
    ],
)
def test_headers_that_make_no_sense_do_no_harm(bench: Bench, headers: dict[str, str]) -> None:
    answers = iter([429, 200, 200])
    budget = bench.budget()
    transport = httpx.MockTransport(lambda _: httpx.Response(next(answers), headers=headers))
    with httpx.Client(transport=BudgetTransport(transport, budget)) as client:
        assert client.get(USER).status_code == 200
        assert client.get(USER).status_code == 200
    assert bench.clock.now - NOW <= 120


def test_a_retry_after_that_is_a_date_is_on_the_server_s_clock(bench: Bench) -> None:
    refusal = {"Date": formatdate(NOW + 500), "Retry-After": formatdate(NOW + 507)}
    answers = iter([httpx.Response(429, headers=refusal), httpx.Response(200)])
    transport = httpx.MockTransport(lambda _: next(answers))
    with httpx.Client(transport=BudgetTransport(transport, bench.budget())) as client:
        assert client.get(USER).status_code == 200
    assert 7 <= bench.clock.now - NOW <= 8


def test_a_call_that_fails_gives_its_permit_back(bench: Bench) -> None:
    client, budget = bench.client()
    call(client)
    bench.sandbox.add_fault(Fault("disconnect"))
    with pytest.raises(httpx.ReadError):
        call(client)
    assert budget.window().permits == {}
    assert budget.window().spent == 2


# Waiting


def test_a_wait_is_logged_once_and_counted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zipchat_dagster")
    client, budget = bench.client()
    call(client, 121)
    assert budget.waited_seconds == pytest.approx(sum(bench.clock.slept))
    assert 47 <= budget.waited_seconds <= 50
    (record,) = caplog.records
    assert re.search(r"waiting 4\d s, continuing at 15:31:0[01] UTC", record.getMessage())
    assert "120 requests so far" in record.getMessage()
    call(client, 120)
    assert len(caplog.records) == 2
    assert budget.waited_seconds == pytest.approx(sum(bench.clock.slept))
    assert max(bench.clock.slept) <= LONGEST_SLEEP


def test_a_wait_of_less_than_a_second_is_not_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zipchat_dagster")
    with closing(bench.budget()) as budget:
        end = bench.clock.now + 0.5
        answer = Answer(NOW, NOW, 200, limit=120, remaining=0, reset=0.5)
        budget.settle(budget.acquire(), answer)
        budget.acquire()
        assert end < bench.clock.now < end + 0.1
        assert budget.waited_seconds == pytest.approx(bench.clock.now - NOW)
    assert caplog.records == []


def spent_budget(tmp_path: Path) -> Budget:
    """On the machine's clock, with nothing left of a window of a minute."""
    budget = Budget("zc-one", database=tmp_path / "budget.sqlite")
    now = budget.clock.time()
    answer = Answer(now, now, 200, date=now, limit=120, remaining=0, reset=now + 60)
    budget.settle(budget.acquire(), answer)
    return budget


@pytest.mark.parametrize("end", [Budget.cancel, Budget.close])
def test_cancelling_or_closing_wakes_all_waiting_threads(
    tmp_path: Path, end: Callable[[Budget], None]
) -> None:
    budget = spent_budget(tmp_path)
    started = threading.Barrier(5)

    def wait() -> None:
        started.wait()
        with pytest.raises(RuntimeError, match="closed while a call was waiting"):
            budget.acquire()

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait) for _ in range(4)]
        started.wait()
        end(budget)
        for future in waiting:
            future.result(timeout=10)  # their window would have lasted a minute
    budget.close()


def test_a_response_after_closing_is_ignored(tmp_path: Path) -> None:
    budget = Budget("zc-one", database=tmp_path / "budget.sqlite")
    permit = budget.acquire()
    budget.close()
    budget.settle(permit, Answer(NOW, NOW, 200))
    assert budget.requests == 1
    assert budget.window() == Window()
    with pytest.raises(RuntimeError):
        budget.acquire()


# The file


def test_the_key_is_in_no_file_log_or_repr(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, budget = bench.client()
    call(client, 121)
    budget.cancel()
    with pytest.raises(RuntimeError) as error:
        budget.acquire()
    assert DEFAULT_KEY not in f"{error.value!r}{caplog.text}{budget!r}{budget.window()}"
    files = list(bench.path.parent.iterdir())
    assert files
    assert all(DEFAULT_KEY.encode() not in file.read_bytes() for file in files)
    bench.close()
    assert DEFAULT_KEY.encode() not in bench.path.read_bytes()


@pytest.mark.parametrize(
    "content", [b"no database at all, " * 100, b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_damaged_file_is_a_setting_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "budget.sqlite"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=r"^the budget file .* cannot be used") as error:
        Budget("zc-secret", database=path)
    assert str(path) in str(error.value)
    assert "zc-secret" not in str(error.value)


def test_a_file_that_is_damaged_later_is_a_setting_error_too(bench: Bench) -> None:
    client, _ = bench.client()
    call(client)
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute("drop table zipchat_budget")
    with pytest.raises(SettingError, match=r"^the budget file .* cannot be used"):
        call(client)


def test_a_full_disk_is_a_setting_error_until_there_is_room(bench: Bench) -> None:
    client, _ = bench.client()
    call(client)
    with (
        disk_full_at(0),
        pytest.raises(SettingError, match=r"^the budget file .* cannot be used"),
    ):
        call(client)
    assert call(client) == [404]


def test_a_folder_that_cannot_be_created_is_a_setting_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "budget.sqlite", tmp_path):
        with pytest.raises(SettingError, match=r"^the budget file .* cannot be used"):
            Budget("zc-one", database=path)


def old_row() -> str:
    """As it was before windows were waited for to their latest end."""
    state = {**vars(Window()), "shortest": 1, "longest": 3600, "on_clock": None, "opened": [1, 2]}
    return json.dumps(state)


@pytest.mark.parametrize("state", [old_row(), json.dumps({"limit": 9}), "[]", '"text"', "{"])
def test_a_row_of_another_version_is_discarded(bench: Bench, state: str) -> None:
    client, budget = bench.client()
    call(client, 5)
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as connection:
        connection.execute("update zipchat_budget set state = ?", [state])
    assert budget.window() == Window()
    assert call(client) == [404]
    assert budget.window().spent == 6
