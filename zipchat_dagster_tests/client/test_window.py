"""The rate-limit window, against servers of every kind, under a clock that jumps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipchat_dagster.client.window import (
    DOCUMENTED_LIMIT,
    GRACE,
    PERMIT_LIFETIME,
    POLL,
    PROBE_PATIENCE,
    Answer,
    Window,
)
from zipchat_dagster_tests.client.simulation import START, Process, Simulation

ALIGNMENTS = ("clock", "first_request")
FORMATS = ("unix", "seconds")
ROUNDINGS = ("exact", "ceil", "floor")
OFFSET = 300.0  # how far the server's clock is ahead of ours in the answers made by hand


def answer(at: float, *, took: float = 0.0, status: int = 200, **fields: Any) -> Answer:
    """Sent `at` seconds after START; `reset` is given in those seconds too."""
    sent_at = START + at
    fields = {"date": float(int(sent_at + OFFSET)), "limit": 120, **fields}
    if fields.get("reset") is not None:
        fields["reset"] += START + OFFSET
    return Answer(sent_at, sent_at + took, status=status, **fields)


def ask(window: Window, at: float, *, name: str = "", reserve: float = 0.0) -> float:
    return window.decide(name or f"at {at}", now=START + at, reserve=reserve)


def grants(window: Window, at: float, *, reserve: float = 0.0) -> int:
    """How many permits are given out at once, none of them answered."""
    number = 0
    while not ask(window, at, name=f"{at}/{reserve}/{number}", reserve=reserve):
        number += 1
    return number


def opened(*, spent: int = 1, reset: float = 60.0) -> Window:
    """A minute of the clock that has just begun, as its first answer told it."""
    window = Window()
    assert ask(window, 0.0, name="first") == 0
    window.settle("first", answer(0.0, remaining=120 - spent, reset=reset))
    return window


# Every kind of server


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    "scale",  # length of a window, latency, threads, seconds that may be lost at each end
    [(60, 0.1, 8, 0.6), (5, 0.0, 8, 0.3), (5, 1.5, 128, 0.55)],
)
def test_no_call_is_refused_and_every_window_is_spent(
    alignment: str, form: str, rounding: str, scale: tuple[int, float, int, float]
) -> None:
    length, latency, threads, seconds_lost = scale
    run = Simulation(
        Process(120 * 7, threads=threads),
        phase=2.38,
        window=length,
        window_alignment=alignment,
        reset_format=form,
        reset_rounding=rounding,
        latency=latency,
        clock_offset=-217.3,
    ).run()
    assert run.done == 120 * 7
    assert run.refused_at == []
    assert min(run.windows) >= 0.97 * 120
    assert run.cycle <= length + seconds_lost


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    server=st.fixed_dictionaries(
        {
            "limit": st.sampled_from([60, 120]),
            "window": st.sampled_from([5, 60]),
            "window_alignment": st.sampled_from(ALIGNMENTS),
            "reset_format": st.sampled_from(FORMATS),
            "reset_rounding": st.sampled_from(ROUNDINGS),
            "clock_offset": st.floats(-300, 300),
            "latency": st.sampled_from([0.0, 0.2, 1.5]),
        }
    ),
    path=st.fixed_dictionaries(
        {
            "phase": st.floats(0, 60),
            "there": st.floats(0.001, 0.1),
            "back": st.floats(0.001, 0.1),
            "jitter": st.sampled_from([0.0, 0.1]),
        }
    ),
    starts=st.lists(st.floats(0, 5), min_size=1, max_size=4),
    others=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), max_size=4),
)
def test_whatever_the_server_and_the_callers(
    server: dict[str, Any],
    path: dict[str, Any],
    starts: list[float],
    others: list[tuple[float, int]],
) -> None:
    calls = server["limit"] * 6 // len(starts)
    processes = [Process(calls, threads=128, starts_after=start) for start in starts]
    run = Simulation(*processes, others=tuple(others), **path, **server).run()
    assert run.done == calls * len(starts)
    # Only what somebody else spent while our calls were on their way can be refused to us, and
    # what others' spending kept us from learning.
    stolen = sum(number for _, number in others)
    assert len(run.refused_at) <= stolen
    assert sum(run.windows) >= 0.97 * server["limit"] * len(run.windows)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_other_programs_that_open_every_window_are_reckoned_with(
    alignment: str, rounding: str
) -> None:
    """Nobody tells us when the windows began that they opened."""
    run = Simulation(Process(800), window=60, window_alignment=alignment, reset_rounding=rounding)
    run.on_new_window = lambda: run.spend(37)
    run.run()
    assert run.refused_at == []
    assert min(run.windows) >= 0.97 * 120


@pytest.mark.parametrize("limit", [7, 30, 600])
def test_another_limit_than_the_documented_one_is_kept(limit: int) -> None:
    run = Simulation(Process(limit * 5), limit=limit, window=60, phase=11.7).run()
    assert run.refused_at == []
    assert run.windows == [limit] * len(run.windows)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize(("latency", "threads"), [(0.0, 8), (0.5, 128)])
def test_without_headers_120_in_60_seconds_are_counted(
    alignment: str, latency: float, threads: int
) -> None:
    run = Simulation(
        Process(120 * 8, threads=threads),
        window=60,
        phase=31.7,
        window_alignment=alignment,
        rate_limit_headers=False,
        latency=latency,
    ).run()
    assert run.refused_at == []
    assert min(run.windows) >= 0.97 * 120


def test_slow_callers_without_headers_never_make_two_windows_into_one() -> None:
    """A window of ours that is spent late and the next one that is spent early share one of the
    server's."""
    late = Process(100, threads=1, starts_after=0.0)
    burst = Process(500, threads=20, starts_after=45.0)
    run = Simulation(
        late, burst, window=60, phase=20.0, rate_limit_headers=False, latency=0.4
    ).run()
    assert run.refused_at == []


def test_a_server_without_a_date_is_waited_for_by_our_own_clock() -> None:
    def undated(headers: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name != "Date"}

    run = Simulation(Process(600), window=60, phase=10.0, clock_offset=200.0, headers=undated).run()
    assert run.refused_at == []
    assert min(run.windows) >= 0.97 * 120


def test_headers_that_stop_or_begin_in_between_are_survived() -> None:
    calls = iter(range(10_000))

    def sometimes(headers: dict[str, str]) -> dict[str, str]:
        has_headers = (next(calls) // 150) % 2
        return {
            name: value
            for name, value in headers.items()
            if has_headers or not name.startswith("X-")
        }

    run = Simulation(Process(800), window=60, phase=10.0, headers=sometimes).run()
    assert run.done == 800
    assert len(run.refused_at) <= 3


def test_a_windows_length_that_is_not_usual_is_learned() -> None:
    for alignment in ALIGNMENTS:
        run = Simulation(
            Process(120 * 12), window=7, phase=3.3, window_alignment=alignment, there=0.02
        ).run()
        assert len(run.refused_at) <= 2
        assert all(at < 4 * 7 for at in run.refused_at)
        assert sum(run.windows) >= 0.97 * 120 * len(run.windows)


def test_a_clock_of_ours_that_is_set_during_the_run_costs_little() -> None:
    for step in (-400.0, 400.0, -2.0, 2.0):
        run = Simulation(Process(120 * 8, threads=8), window=60, phase=31.7)

        def set_clock(run: Simulation = run, step: float = step) -> None:
            server = run.sandbox
            run.now += step
            server.clock_offset -= step
            run._events = [(at + step, order, what) for at, order, what in run._events]

        run.after(200.0, set_clock)
        run.run()
        assert run.done == 120 * 8
        assert len(run.refused_at) <= 4
        assert sum(run.windows) >= 0.97 * 120 * len(run.windows)


# One call goes first


def test_one_call_goes_first_and_the_rest_follow_its_answer() -> None:
    window = Window()
    assert ask(window, 0.0, name="first") == 0
    assert ask(window, 0.1, name="second") == POLL
    window.settle("first", answer(0.0, took=0.2, remaining=119, reset=60))
    assert grants(window, 0.3) == 119


def test_in_the_next_window_again_one_call_goes_first() -> None:
    window = opened(spent=120)
    wait = ask(window, 1.0)
    assert 59 < wait < 62
    assert grants(window, 1.0 + wait) == 1


def test_a_first_call_that_never_comes_back_is_waited_for_no_longer_than_its_patience() -> None:
    window = Window()
    assert ask(window, 0.0, name="died") == 0
    assert ask(window, PROBE_PATIENCE - 0.1) == POLL
    assert ask(window, PROBE_PATIENCE + 0.1) == 0


def test_permits_of_a_dead_process_lapse() -> None:
    window = opened()
    assert grants(window, 1.0) == 119
    assert ask(window, PERMIT_LIFETIME) == POLL
    assert ask(window, 1.0 + PERMIT_LIFETIME) == 0


def test_permits_of_a_dead_process_do_not_count_in_the_next_window() -> None:
    window = opened()
    assert grants(window, 40.0) == 119  # and their process is killed
    assert ask(window, 60.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=119, reset=120))
    assert grants(window, 60.6) == 119


def test_a_killed_process_does_not_stall_the_others() -> None:
    victim = Process(10_000, threads=100, dies_after=20.05)
    survivor = Process(700, threads=8)
    run = Simulation(victim, survivor, window=60, latency=0.3).run()
    assert run.refused_at == []
    assert len(survivor.done_at) == 700
    pauses = [after - before for before, after in pairwise(sorted(survivor.done_at))]
    assert max(pauses) <= 60 + PROBE_PATIENCE
    assert sum(run.windows[1:]) >= 0.97 * 120 * len(run.windows[1:])


def test_killed_in_the_middle_of_going_first() -> None:
    victim = Process(10_000, threads=1, dies_after=0.0)
    run = Simulation(victim, Process(100, starts_after=0.1), window=60).run()
    assert run.done == 100


# Refusals


def test_a_429_waits_for_the_reset_and_costs_nothing_else() -> None:
    window = opened()
    assert ask(window, 10.0, name="refused") == 0
    window.settle("refused", answer(10.0, status=429, remaining=0, reset=60))
    wait = ask(window, 10.1, name="again")
    assert 49 < wait < 51.5
    assert ask(window, 10.1 + wait, name="again") == 0
    window.settle("again", answer(10.1 + wait, remaining=119, reset=120))
    assert grants(window, 62.0) == 119


def test_remaining_0_without_a_429_waits_too() -> None:
    window = opened(spent=120)
    assert ask(window, 0.5) > 59


def test_retry_after_is_kept_where_nothing_else_says_when() -> None:
    window = Window()
    ask(window, 0.0, name="refused")
    window.settle("refused", answer(0.0, status=429, limit=None, retry_after=17.0))
    assert ask(window, 1.0) == pytest.approx(16.0)
    assert grants(window, 17.1) == 1


def test_a_retry_after_of_a_day_is_cut_to_a_window() -> None:
    window = Window()
    ask(window, 0.0, name="refused")
    window.settle("refused", answer(0.0, status=429, limit=None, retry_after=86_400.0))
    assert ask(window, 0.0) <= 120


def test_refusals_that_do_not_say_until_when_are_asked_about_ever_less_often() -> None:
    window, at, waits = Window(), 0.0, []
    for _ in range(9):
        assert grants(window, at) == 1
        window.settle(f"{at}/0.0/0", answer(at, status=429, limit=None))
        waits.append(ask(window, at))
        at += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_run_against_somebody_who_spends_everything_goes_on_when_they_stop() -> None:
    others = tuple((60.0 * window + 0.0001, 500) for window in range(5))
    run = Simulation(Process(50), window=60, others=others).run()
    assert run.done == 50
    assert len(run.refused_at) <= 6  # one a window


@given(
    reset=st.one_of(st.none(), st.floats(0, 1e13)),
    remaining=st.one_of(st.none(), st.integers(-5, 10_000)),
    limit=st.one_of(st.none(), st.integers(0, 10_000)),
    date=st.one_of(st.none(), st.integers(0, 2**33)),
    status=st.sampled_from([None, 200, 429, 500]),
    retry_after=st.one_of(st.none(), st.floats(0, 1e9)),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_header_makes_anybody_wait_for_more_than_two_windows(**headers: Any) -> None:
    window = Window()
    window.decide("first", now=START, reserve=0.0)
    window.settle("first", Answer(START, START + 0.1, **headers))
    for permit in range(12):
        assert window.decide(str(permit), now=START + 0.2, reserve=0.5) <= 2 * window.length
    assert window.length <= 3601


# The reserve


def test_a_backfill_leaves_its_reserve_to_live_calls() -> None:
    window = opened()
    assert grants(window, 1.0, reserve=0.25) == 89  # and the first
    assert grants(window, 1.0) == 30


def test_the_reserve_is_released_in_the_last_tenth_of_the_window() -> None:
    window = opened(spent=90)
    wait = ask(window, 1.0, reserve=0.25)
    assert 52 <= wait <= 54.1
    assert grants(window, 1.0 + wait, reserve=0.25) == 30


def test_a_backfill_alone_spends_every_window() -> None:
    run = Simulation(Process(120 * 6, reserve=0.25), window=60, phase=13.1).run()
    assert run.refused_at == []
    assert run.windows == [120] * len(run.windows)


def test_live_calls_go_at_once_while_a_backfill_runs() -> None:
    backfill = Process(2000, reserve=0.25)
    live = [Process(25, starts_after=60.0 * n + 30) for n in range(1, 6)]
    run = Simulation(backfill, *live, window=60, phase=0.0).run()
    assert run.refused_at == []
    for process in live:
        assert process.done_at[-1] - process.starts_after < 1
    assert sum(run.windows) >= 0.97 * 120 * len(run.windows)


def test_without_headers_a_backfill_leaves_its_reserve_too() -> None:
    window = Window()
    ask(window, 0.0, name="first")
    window.settle("first", answer(0.0, limit=None))
    assert grants(window, 1.0, reserve=0.25) == 89
    assert grants(window, 1.0) == 30


def test_a_reserve_never_holds_everything_back() -> None:
    window = Window(limit=1)
    assert ask(window, 0.0, name="first", reserve=0.9) == 0
    window.settle("first", replace(answer(0.0), limit=None))
    assert ask(window, 61.0, reserve=0.9) == 0


# Answers out of order


def test_late_answers_of_an_old_window_change_nothing() -> None:
    window = opened(spent=100)
    assert ask(window, 59.0, name="late") == 0
    assert ask(window, 60.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=110, reset=120))
    window.settle("late", answer(59.0, took=3.0, remaining=19, reset=60))
    assert window.spent == 10
    assert grants(window, 62.5) >= 108  # one or two are kept back to find the end


def test_an_answer_that_was_overtaken_does_not_give_back_what_is_spent() -> None:
    window = opened()
    for name in ("slow", "fast"):
        assert ask(window, 1.0, name=name) == 0
    window.settle("fast", answer(1.0, took=0.1, remaining=117, reset=60))
    window.settle("slow", answer(1.0, took=0.5, remaining=118, reset=60))
    assert window.spent == 3


def test_a_refusal_of_an_old_window_does_not_close_the_new_one() -> None:
    window = opened()
    assert ask(window, 59.9, name="late") == 0
    assert ask(window, 60.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=119, reset=120))
    window.settle("late", answer(59.9, took=1.0, status=429, remaining=0, reset=60))
    assert ask(window, 61.0) == 0


def test_calls_under_way_when_the_window_ends_count_in_the_next() -> None:
    window = opened()
    assert grants(window, 59.9) == 119
    assert ask(window, 60.5, name="next") == 0
    window.settle("next", answer(60.5, remaining=119, reset=120))
    assert ask(window, 60.6) == POLL


def test_a_call_that_was_never_answered_counts_as_spent() -> None:
    window = opened()
    assert ask(window, 1.0, name="lost") == 0
    window.settle("lost", Answer(START + 1, START + 31))
    assert window.spent == 2


def test_other_programs_that_opened_the_window_leave_a_second_to_its_end() -> None:
    """When it began is then unknown, so that a reset that was rounded down may be a second off."""
    window = Window()
    ask(window, 3.5, name="first")
    window.settle("first", answer(3.5, remaining=0, reset=47))
    wait = ask(window, 3.5)
    assert 47 + 1 <= 3.5 + wait <= 47 + 2 + GRACE  # and a second for a clock seen only once


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_answers_in_any_order_never_lead_to_more_than_the_limit(data: st.DataObject) -> None:
    """Delays of up to three windows, in both directions of every call."""
    delay = st.floats(0.0, 14.0)
    run = Simulation(
        Process(150, threads=30),
        limit=20,
        window=5,
        window_alignment=data.draw(st.sampled_from(ALIGNMENTS)),
        phase=data.draw(st.floats(0, 5)),
        there=0.0,
    )
    draws = iter(data.draw(st.lists(delay, min_size=20, max_size=20)) * 1000)
    travel = iter([0.0, 1.0] * 10_000)
    run._travel = lambda seconds: next(draws) * next(travel)  # type: ignore[method-assign]
    run.run()
    assert run.done == 150
    assert run.refused_at == []


def test_the_documented_limit_holds_before_anything_is_known() -> None:
    assert Window().limit == DOCUMENTED_LIMIT


def test_a_clock_of_ours_that_is_set_back_makes_nobody_wait_for_the_time_to_come_again() -> None:
    window = opened(spent=120)
    assert ask(window, -400.0) == 0
