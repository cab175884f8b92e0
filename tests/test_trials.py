"""Calls that are measured: how many may begin, what their end tells, and how soon a relapse is known."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.watched import SECOND_NS, Time
from holter.trials import Measured, Permit, Probation, Terms, Trials


def settled(measured: Measured, *, good: bool = True) -> bool:
    """Make a call if one may be made; return whether that is so."""
    permit = measured.claim()
    if permit is None:
        return False
    permit.resume()
    permit.settle(None if good else ValueError())
    return True


@given(
    calls=st.integers(1, 50), tolerance=st.floats(0, 0.5), ends=st.lists(st.sampled_from(["good", "bad", "given up"]))
)
def test_no_more_calls_are_tried_than_there_may_be(calls: int, tolerance: float, ends: list[str]) -> None:
    """However they end, and in whichever order; those that tell nothing are made up for."""
    trials = Trials(Terms(calls, tolerance), Time())
    running: list[Permit] = []
    for end in ends:
        while (permit := trials.claim()) is not None:
            permit.resume()
            running.append(permit)
        told = len(trials.good) + len(trials.bad)
        assert told + len(running) <= calls
        assert len(running) <= 2 * len(trials.good) + len(trials.bad) + 1
        assert trials.has_passed or trials.has_failed or running
        if running:
            running.pop().settle({"good": None, "bad": ValueError(), "given up": GeneratorExit()}[end])
    assert not (trials.has_passed and trials.has_failed)


@pytest.mark.parametrize(
    ("calls", "tolerance", "allowed"), [(20, 0.05, 1), (20, 0.0, 0), (19, 0.05, 0), (100, 0.29, 29), (1, 0.5, 0)]
)
def test_how_many_may_be_bad(calls: int, tolerance: float, allowed: int) -> None:
    """The share of them that is allowed, rounded down; one more fails the trials at once."""
    for bad in range(calls + 1):
        trials = Trials(Terms(calls, tolerance), Time())
        made = [settled(trials, good=place >= bad) for place in range(calls)]
        assert (bad <= allowed, bad > allowed) == (trials.has_passed, trials.has_failed)
        assert sum(made) == (calls if bad <= allowed else allowed + 1)


def test_threads_get_no_more_permits_than_there_are() -> None:
    """All at once, again and again."""
    trials = Trials(Terms(1_000, 0.0), Time())
    made: list[int] = []

    def work() -> None:
        idle = 0
        while idle < 1_000 and not trials.has_passed:
            if settled(trials):
                made.append(1)
            else:
                idle += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while settled(trials):
        made.append(1)
    assert (1_000, 1_000, 0) == (len(made), len(trials.good), len(trials.running))


def test_a_call_that_was_taken_for_one_that_hangs_counts_once() -> None:
    """Whether it ends after all or not."""
    time = Time()
    trials = Trials(Terms(3, 0.5), time)
    permit = trials.claim()
    assert permit is not None
    permit.resume()
    time.spend(2)
    trials.sweep(2 * SECOND_NS)
    assert [] == list(trials.bad)
    trials.sweep(2 * SECOND_NS - 1)
    permit.settle()
    assert (["hung"], 0) == (list(trials.bad), len(trials.good))


def delay(share: float, tolerance: float, seed: int) -> int:
    """Return after how many calls a relapse is found, of which *share* are bad."""
    probation = Probation(Terms(tolerance=tolerance), Time())
    random = np.random.default_rng(seed)
    for calls in range(1, 20_001):
        settled(probation, good=random.random() >= share)
        if probation.has_relapsed():
            return calls
    return 20_001


@pytest.mark.parametrize(
    ("share", "tolerance", "at_most"), [(0.25, 0.05, 70), (0.5, 0.05, 25), (1.0, 0.05, 10), (1.0, 0.0, 10)]
)
def test_a_relapse_is_found_soon(share: float, tolerance: float, at_most: int) -> None:
    """The worse it is, the sooner."""
    assert at_most >= np.mean([delay(share, tolerance, seed) for seed in range(30)])


@pytest.mark.parametrize(("share", "tolerance"), [(0.01, 0.05), (0.03, 0.05), (0.001, 0.0), (0.2, 0.4)])
def test_what_is_allowed_is_no_relapse(share: float, tolerance: float) -> None:
    """Not in 20,000 calls."""
    assert [20_001] * 3 == [delay(share, tolerance, seed) for seed in range(3)]


def test_the_sum_is_that_of_the_likelihood_ratios() -> None:
    """Each call adds what its end is worth under a share five times as bad, and the sum never falls below 0."""
    probation, sum_ = Probation(Terms(), Time()), 0.0
    for good in np.random.default_rng(3).random(500) > 0.1:
        settled(probation, good=bool(good))
        sum_ = max(0.0, sum_ + (math.log(0.75 / 0.95) if good else math.log(0.25 / 0.05)))
        assert (sum_ > 10) == probation.has_relapsed()
        assert probation._sum == pytest.approx(sum_)
        if sum_ > 10:
            break


def test_of_calls_that_nobody_looks_at_few_are_kept() -> None:
    """In proportion: where a collector hangs, good calls are forgotten as bad ones are."""
    probation = Probation(Terms(), Time())
    for place in range(30_000):
        settled(probation, good=place % 100 != 0)
    assert (9_900, 100) == (len(probation.good), len(probation.bad))
    assert not probation.has_relapsed()
    assert (0, 0) == (len(probation.good), len(probation.bad))
