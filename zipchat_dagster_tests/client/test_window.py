"""The rate-limit window, against servers of every kind, under a clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.client.window import (
    DOCUMENTED_LENGTH,
    GRACE,
    LONGEST_LENGTH,
    PERMIT_LIFETIME,
    POLL,
    PROBE_PATIENCE,
    Answer,
    Window,
)
from zipchat_dagster_tests.client.simulation import KINDS, START, WINDOWS, Process, Simulation

ALIGNMENTS = ("clock", "first_request")
OFFSET = 300.0  # how far the server's clock is ahead of ours in the answers made by hand


def answer(at: float, *, took: float = 0.0, status: int = 200, **fields: Any) -> Answer:
    """Sent `at` seconds after START. `reset` is given in those seconds too."""
    sent_at = START + at
    fields = {"date": float(int(sent_at + OFFSET)), "limit": 120, **fields}
    if fields.get("reset") is not None:
        fields["reset"] += START + OFFSET
    return Answer(sent_at, sent_at + took, status=status, **fields)


def ask(window: Window, at: float, *, name: str = "", reserve: float = 0.0) -> float:
    return window.decide(name or f"at {at}", now=START + at, reserve=reserve)


def grants(window: Window, at: float, *, reserve: float = 0.0) -> int:
    """How many permits are granted at once, none of them answered."""
    number = 0
    while not ask(window, at, name=f"{at}/{reserve}/{number}", reserve=reserve):
        number += 1
    return number


def opened(*, spent: int = 1, reset: float = 60.0) -> Window:
    """A minute of the clock that has just begun, after its first response."""
    window = Window()
    assert ask(window, 0.0, name="first") == 0
    window.settle("first", answer(0.0, remaining=120 - spent, reset=reset))
    return window


def test_a_permit_can_be_asked_for_again_if_its_grant_was_not_stored_for_certain() -> None:
    window = Window()
    assert ask(window, 0.0, name="one") == 0
    assert ask(window, 0.1, name="one") == 0
    assert ask(window, 0.1, name="two") == POLL


# Every kind of server


@pytest.mark.parametrize("name", KINDS)
def test_every_window_of_a_minute_is_used_up_and_no_call_refused(name: str) -> None:
    run = KINDS[name](38.37, 60).run()
    assert all(not process.calls or process.dies_after for process in run.processes)
    assert sum(len(p.done_at) for p in run.processes if not p.dies_after) == WINDOWS * 120
    # Of a clock that is set by more than a window, only the next call can tell.
    assert len(run.refused_at) <= (1 if name.endswith(("back", "ahead")) else 0)
    # Slow answers take 1.5 seconds, which pass before the end of the window is known.
    assert run.cycle <= (1.027 if "slow" in name else 1.02)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("form", ["unix", "seconds"])
def test_windows_of_other_lengths_last_a_second_or_two_longer(
    alignment: str, rounding: str, form: str
) -> None:
    name = f"{alignment}, {form}, {rounding}"
    for length in (7, 300):
        run = KINDS[name](38.37, length).run()
        assert run.refused_at == []
        assert run.cycle <= 1 + 1.5 / length


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    server=st.fixed_dictionaries(
        {
            "limit": st.sampled_from([60, 120]),
            "window": st.sampled_from([5, 60]),
            "window_alignment": st.sampled_from(ALIGNMENTS),
            "reset_format": st.sampled_from(["unix", "seconds"]),
            "reset_rounding": st.sampled_from(["exact", "ceil", "floor"]),
            "retry_after": st.booleans(),
            "clock_offset": st.floats(-300, 300),
            "latency": st.sampled_from([0.0, 0.2, 1.5]),
        }
    ),
    path=st.fixed_dictionaries(
        {
            "phase": st.floats(0, 60),
            "there": st.floats(0.001, 0.1),
            "back": st.floats(0.001, 0.1),
            "jitter": st.sampled_from([0.0, 0.5]),
        }
    ),
    starts=st.lists(st.floats(0, 5), min_size=1, max_size=4),
    reserve=st.sampled_from([0.0, 0.25]),
    others=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), max_size=4),
)
def test_only_what_others_spent_meanwhile_can_be_refused(
    server: dict[str, Any],
    path: dict[str, Any],
    starts: list[float],
    reserve: float,
    others: list[tuple[float, int]],
) -> None:
    calls = server["limit"] * 4 // len(starts)
    processes = [
        Process(calls, threads=128, starts_after=start, reserve=reserve) for start in starts
    ]
    run = Simulation(*processes, others=tuple(others), **path, **server).run()
    assert run.done == calls * len(starts)
    assert len(run.refused_at) <= sum(number for _, number in others)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_answers_in_any_order_never_lead_to_more_than_the_limit(data: st.DataObject) -> None:
    """Delays of up to three windows, in both directions of every call."""
    run = Simulation(
        Process(150, threads=30),
        limit=20,
        window=5,
        window_alignment=data.draw(st.sampled_from(ALIGNMENTS)),
        phase=data.draw(st.floats(0, 5)),
    )
    draws = iter(data.draw(st.lists(st.floats(0.0, 14.0), min_size=20, max_size=20)) * 1000)
    travel = iter([0.0, 1.0] * 10_000)
    run._travel = lambda seconds: next(draws) * next(travel)  # type: ignore[method-assign]  # the delays are the input
    run.run()
    assert run.done == 150
    assert run.refused_at == []


@pytest.mark.parametrize("limit", [7, 300])
def test_a_limit_other_than_the_documented_one_is_learned(limit: int) -> None:
    run = Simulation(Process(limit * 5), limit=limit, phase=11.7).run()
    assert run.refused_at == []
    assert run.windows == [limit] * len(run.windows)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_without_headers_two_bursts_never_meet_in_one_window(alignment: str) -> None:
    late = Process(100, threads=1)
    burst = Process(300, threads=20, starts_after=45.0)
    run = Simulation(
        late,
        burst,
        phase=20.0,
        latency=0.4,
        rate_limit_headers=False,
        window_alignment=alignment,
    ).run()
    assert run.done == 400
    assert run.refused_at == []


def test_headers_may_stop_and_start_again() -> None:
    calls = iter(range(10_000))

    def sometimes(headers: dict[str, str]) -> dict[str, str]:
        has_headers = (next(calls) // 150) % 2
        return {k: v for k, v in headers.items() if has_headers or not k.startswith("X-")}

    run = Simulation(Process(800), phase=10.0, headers=sometimes).run()
    assert run.done == 800
    assert len(run.refused_at) <= 3


def test_live_calls_go_at_once_while_a_backfill_runs() -> None:
    backfill = Process(1200, reserve=0.25)
    live = [Process(25, starts_after=60.0 * n + 30) for n in range(1, 6)]
    run = Simulation(backfill, *live).run()
    assert run.refused_at == []
    for process in live:
        assert process.done_at[-1] - process.starts_after < 1


def test_calls_resume_when_others_stop_spending_everything() -> None:
    others = tuple((60.0 * window + 0.0001, 500) for window in range(5))
    run = Simulation(Process(50), others=others).run()
    assert run.done == 50
    assert len(run.refused_at) <= 6  # one per window


# One call goes ahead


def test_one_call_goes_ahead_and_the_rest_follow_its_response() -> None:
    window = Window()
    assert ask(window, 0.0, name="first") == 0
    assert ask(window, 0.1, name="second") == POLL
    window.settle("first", answer(0.0, took=0.2, remaining=119, reset=60))
    assert grants(window, 0.3) == 119


def test_one_call_goes_ahead_in_the_next_window_too() -> None:
    window = opened(spent=120)
    wait = ask(window, 1.0)
    assert 59 <= wait <= 59 + 2 * GRACE
    assert grants(window, 1.0 + wait) == 1


def test_a_call_ahead_that_gets_no_response_is_waited_for_only_so_long() -> None:
    window = Window()
    assert ask(window, 0.0, name="lost") == 0
    assert ask(window, PROBE_PATIENCE - 0.1) == POLL
    assert ask(window, PROBE_PATIENCE + 0.1) == 0


def test_a_call_ahead_that_fails_is_followed_by_another() -> None:
    window = Window()
    assert ask(window, 0.0, name="failed") == 0
    window.settle("failed", Answer(START, START + 3))
    assert grants(window, 3.0) == 1


# Permits


def test_permits_of_a_dead_process_do_not_count_in_the_next_window() -> None:
    window = opened()
    assert grants(window, 40.0) == 119  # and their process is killed
    assert ask(window, 60.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=119, reset=120))
    assert grants(window, 60.6) == 119


def test_permits_of_a_dead_process_lapse_in_a_long_window() -> None:
    window = opened(reset=3000)
    assert grants(window, 1.0) == 119
    assert ask(window, PERMIT_LIFETIME) == POLL
    assert ask(window, 1.0 + PERMIT_LIFETIME) == 0


def test_calls_under_way_when_the_window_ends_count_in_the_next() -> None:
    window = opened()
    assert grants(window, 56.0) == 119
    assert ask(window, 66.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=119, reset=120))
    assert ask(window, 66.6) == POLL


def test_a_call_without_a_response_counts_as_spent() -> None:
    window = opened()
    assert ask(window, 1.0, name="lost") == 0
    window.settle("lost", Answer(START + 1, START + 31))
    assert window.spent == 2


# The end of a window


@pytest.mark.parametrize(
    ("fields", "over_at"),
    [
        ({"reset": 50.0, "remaining": 119}, 50),  # our call opened it: date and reset agree
        ({"reset": 50.0, "remaining": 80}, 51),  # others did: it may have been rounded down
        ({"reset": 50.25, "remaining": 80}, 50.25),  # not rounded
        ({"reset": 61.0, "remaining": 119}, 60),  # rounded up
        ({"reset": 90.0, "remaining": 80}, 91),  # longer than documented
        ({"reset": 50.0, "remaining": 80, "date": None}, 60),  # the clocks cannot be compared
    ],
)
def test_a_window_ends_at_the_latest_reading_of_its_reset(
    fields: dict[str, Any], over_at: float
) -> None:
    window = Window()
    window.settle("first", answer(0.0, **fields))
    assert window.over_at - START == pytest.approx(over_at + GRACE, abs=0.001)


def test_a_reset_may_be_in_milliseconds() -> None:
    window = Window()
    reset = (START + OFFSET + 50.25) * 1000
    window.settle("", Answer(START, START, 200, START + OFFSET, 120, 80, reset))
    assert window.over_at - START == pytest.approx(50.25 + GRACE, abs=0.001)


def test_more_responses_tell_more_about_the_servers_clock() -> None:
    window = opened(spent=5)
    assert window.offset == OFFSET
    window.settle("", answer(1.5, took=2.0, remaining=100, reset=60))
    assert window.offset == pytest.approx(OFFSET, abs=0.01)
    window.settle("", answer(4.0, remaining=99, reset=60, date=START + OFFSET + 4.5))
    assert window.offset == pytest.approx(OFFSET + 0.5)
    window.settle("", answer(1004.0, remaining=99, reset=1060))  # and they may drift apart
    assert window.offset == pytest.approx(OFFSET + 0.3)


# Late responses


def test_late_responses_from_an_old_window_change_nothing() -> None:
    window = opened(spent=100)
    assert ask(window, 59.0, name="late") == 0
    assert ask(window, 60.5, name="refused") == POLL
    window.settle("next", answer(60.5, remaining=110, reset=120))
    window.settle("late", answer(59.0, took=3.0, remaining=19, reset=60))
    window.settle("refused", answer(59.9, took=1.0, status=429, remaining=0, reset=60))
    assert window.spent == 10
    assert grants(window, 62.5) == 110


def test_a_response_that_was_overtaken_does_not_give_anything_back() -> None:
    window = opened()
    window.settle("fast", answer(1.0, took=0.1, remaining=117, reset=60))
    window.settle("slow", answer(1.0, took=0.5, remaining=118, reset=60))
    assert window.spent == 3


# Refusals


def test_a_429_waits_for_the_reset_and_costs_nothing_else() -> None:
    window = opened()
    window.settle("refused", answer(10.0, status=429, remaining=0, reset=60))
    wait = ask(window, 10.1, name="again")
    assert 49.9 <= wait <= 50.9
    assert ask(window, 10.1 + wait, name="again") == 0
    window.settle("again", answer(10.1 + wait, remaining=119, reset=120))
    assert grants(window, 62.0) == 119


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(17.0, 17), (None, DOCUMENTED_LENGTH), (86_400.0, DOCUMENTED_LENGTH)]
)
def test_a_429_without_a_reset_waits_for_retry_after_or_a_window(
    retry_after: float | None, wait: float
) -> None:
    window = Window()
    window.settle("", answer(0.0, limit=None))
    assert grants(window, 0.1) == 119
    window.settle("", answer(0.2, status=429, limit=None, retry_after=retry_after))
    assert ask(window, 0.2) == pytest.approx(wait)
    window.permits.clear()
    assert grants(window, 0.21 + wait) == 1


@given(
    reset=st.one_of(st.none(), st.floats(-10, 1e13)),
    remaining=st.one_of(st.none(), st.integers(-5, 10_000)),
    limit=st.one_of(st.none(), st.integers(0, 10_000)),
    date=st.one_of(st.none(), st.integers(0, 2**33)),
    status=st.sampled_from([None, 200, 429, 500]),
    retry_after=st.one_of(st.none(), st.floats(0, 1e9)),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_headers_that_make_no_sense_delay_calls_by_an_hour_at_most(**headers: Any) -> None:
    window = Window()
    window.settle("first", Answer(START, START + 0.1, **headers))
    for permit in range(12):
        wait = window.decide(str(permit), now=START + 0.2, reserve=0.5)
        assert 0 <= wait <= LONGEST_LENGTH + GRACE
    assert 1 <= window.length <= LONGEST_LENGTH


# The reserve


@pytest.mark.parametrize("has_headers", [True, False])
def test_a_backfill_leaves_its_reserve_to_live_calls(has_headers: bool) -> None:
    window = Window()
    headers = {"remaining": 119, "reset": 60.0} if has_headers else {"limit": None}
    window.settle("first", answer(0.0, **headers))
    assert grants(window, 1.0, reserve=0.25) == 89
    assert grants(window, 1.0) == 30


def test_the_reserve_is_released_in_the_last_tenth_of_the_window() -> None:
    window = opened(spent=90)
    wait = ask(window, 1.0, reserve=0.25)
    assert 53 <= wait <= 54.1
    assert grants(window, 1.0 + wait, reserve=0.25) == 30


def test_a_reserve_never_holds_everything_back() -> None:
    window = opened()
    window.settle("", answer(1.0, limit=1, remaining=1, reset=60))
    assert window.limit == 1
    window.spent = 0
    assert ask(window, 2.0, reserve=0.9) == 0


# Our clock


def test_calls_do_not_wait_for_a_clock_that_was_set_back_to_catch_up() -> None:
    window = opened(spent=120)
    assert ask(window, -400.0) == 0


def test_a_response_that_came_before_it_was_sent_is_not_believed() -> None:
    window = opened()
    before = window.offset, window.over_at, window.spent
    window.settle("", answer(1.0, took=-400.0, remaining=50, reset=60))
    assert (window.offset, window.over_at, window.spent) == before
