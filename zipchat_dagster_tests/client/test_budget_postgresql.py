"""The budget in PostgreSQL: for processes on several machines, whose clocks differ."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from zipchat_dagster.client import Clock as MachineClock
from zipchat_dagster.client.budget import LONGEST_OUTAGE, Budget
from zipchat_dagster.client.errors import BudgetDownError, SettingError
from zipchat_dagster.client.window import Answer, Window
from zipchat_dagster.sandbox import DEFAULT_KEY, Chat, Sandbox
from zipchat_dagster_tests.client.processes import call_together
from zipchat_dagster_tests.postgres import Server, postgres

psycopg2 = pytest.importorskip("psycopg2", reason="no psycopg2: pip install '.[lake]'")

MINUTE = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("PGPASSWORD", running.password)
    query(running, "drop table if exists zipchat_budget")
    return running


def address(server: Server, user: str = "postgres", database: str = "postgres") -> str:
    return f"postgresql://{user}@{server.host}:{server.port}/{database}"


def query(server: Server, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(address(server), password=server.password)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


class Clock(MachineClock):
    """A machine's clock that is wrong. Sleeping takes no time, but moves it."""

    def __init__(self, ahead: float = 0.0, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.ahead = ahead
        self.on_sleep = on_sleep

    def time(self) -> float:
        return super().time() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        self.on_sleep()


def answer(clock: Clock, *, spent: int = 1, ahead: float = 0.0) -> Answer:
    """Received now, from a server whose clock is ahead of the right time."""
    now, date = clock.time(), float(int(time.time() + ahead))
    return Answer(now, now, 200, date=date, limit=120, remaining=120 - spent, reset=date + 60)


# Clocks


def test_machines_whose_clocks_differ_share_every_window(server: Server) -> None:
    sandbox = Sandbox(chat=Chat(), limit=30, window=1)
    call_together(sandbox, address(server), clocks=[-MINUTE, 0.0, MINUTE])
    assert sandbox.stats()["refused"] == 0
    assert sandbox.stats()["requests"] == 75
    ((key_hash, state),) = query(server, "select key_hash, state from zipchat_budget")
    assert len(key_hash) == 64
    assert DEFAULT_KEY not in state


def test_no_change_is_lost_among_many_at_once(server: Server) -> None:
    clock = Clock()
    budgets = [Budget("zc-one", database=address(server), clock=clock) for _ in range(4)]
    budgets[0].settle(budgets[0].acquire(), answer(clock))
    with ThreadPoolExecutor(4) as pool:
        taken = set(pool.map(lambda number: budgets[number % 4].acquire(), range(100)))
        assert budgets[0].window().permits.keys() == taken
    for budget in budgets:
        budget.close()


def test_times_are_those_of_the_servers_clock(server: Server) -> None:
    slow, fast = Clock(-MINUTE), Clock(MINUTE)
    with (
        closing(Budget("zc-one", database=address(server), clock=slow)) as one,
        closing(Budget("zc-one", database=address(server), clock=fast)) as other,
    ):
        one.settle(one.acquire(), answer(slow, ahead=300))
        known = one.window()
        assert other.window() == known
        assert known.offset == pytest.approx(300, abs=10)
        assert known.over_at - time.time() == pytest.approx(60, abs=10)
        for budget in (one, other):
            assert budget.server_time() - time.time() == pytest.approx(300, abs=10)
        slow.ahead = 4000.0  # the machine's clock is set
        one.settle(one.acquire(), answer(slow, spent=2, ahead=300))
        assert one.window().spent == 2
        assert one.window().offset == pytest.approx(300, abs=10)


# Outages


def test_a_restart_in_the_middle_is_waited_for(server: Server) -> None:
    restarts: list[None] = []

    def start_again() -> None:
        server.start()
        restarts.append(None)

    clock = Clock(on_sleep=start_again)
    with closing(Budget("zc-one", database=address(server), clock=clock)) as budget:
        permit = budget.acquire()
        server.stop()
        budget.settle(permit, answer(clock, spent=7))
        server.stop()
        budget.acquire()
        assert len(restarts) == 2
        assert budget.window().spent == 7
        assert len(budget.window().permits) == 1


def test_an_outage_is_an_error_after_a_while_but_no_response_is_lost(server: Server) -> None:
    clock = Clock()
    with closing(Budget("zc-one", database=address(server), clock=clock)) as budget:
        permit = budget.acquire()
        server.stop()
        try:
            before = clock.ahead
            budget.settle(permit, answer(clock))
            assert clock.ahead - before >= LONGEST_OUTAGE - 5
            with pytest.raises(BudgetDownError, match=r"^the budget's database does not respond"):
                budget.acquire()
            budget.cancel()
            with pytest.raises(RuntimeError, match="closed"):
                budget.acquire()
        finally:
            server.start()
    assert budget.requests == 1


# What cannot be used


def refused(database: str, error_class: type[Exception] = SettingError) -> str:
    with pytest.raises(error_class) as error:
        Budget("zc-secret", database=database)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("the budget's database in PostgreSQL cannot be used (")
    assert text.endswith(" the password in PGPASSWORD or ~/.pgpass.")
    return text


def test_a_server_that_is_down_may_come_back_but_a_refused_login_is_a_setting_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "refused" in refused("postgresql://user@127.0.0.1:1/postgres", BudgetDownError)
    assert '"missing" does not exist' in refused(address(server, database="missing"))
    monkeypatch.setenv("PGPASSWORD", "wrong-password")
    assert "wrong-password" not in refused(address(server))


def test_without_a_driver_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(SettingError, match=r"pip install 'zipchat-dagster\[lake\]'"):
        Budget("zc-one", database="postgresql://user@127.0.0.1:1/postgres")


# The table


def test_creating_the_table_many_times_at_once_does_not_collide(server: Server) -> None:
    together = threading.Barrier(6)

    def make() -> Window:
        together.wait()
        with closing(Budget("zc-one", database=address(server))) as budget:
            return budget.window()

    with ThreadPoolExecutor(6) as pool:
        made = [pool.submit(make) for _ in range(6)]
        assert [one.result() for one in made] == [Window()] * 6


def test_a_user_who_may_not_create_tables_can_use_it(server: Server) -> None:
    Budget("zc-one", database=address(server)).close()
    query(server, f"create role pacer login password '{server.password}'")
    try:
        assert "permission denied" in refused_when_used(address(server, "pacer"))
        query(server, "grant select, insert, update on zipchat_budget to pacer")
        with closing(Budget("zc-one", database=address(server, "pacer"))) as budget:
            budget.acquire()
            assert len(budget.window().permits) == 1
    finally:
        query(server, "drop owned by pacer; drop role pacer")


def refused_when_used(database: str) -> str:
    with (
        closing(Budget("zc-one", database=database)) as budget,
        pytest.raises(SettingError, match=r"^the budget's database") as error,
    ):
        budget.acquire()
    return str(error.value)


def test_a_row_of_another_version_is_discarded(server: Server) -> None:
    with closing(Budget("zc-one", database=address(server))) as budget:
        budget.acquire()
        for state in ("", "{", '{"limit": 9}'):
            query(server, f"update zipchat_budget set state = '{state}'")
            assert budget.window() == Window()
        budget.acquire()
        assert len(budget.window().permits) == 1
