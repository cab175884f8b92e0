"""What is usual in each part of a period, kept in few bits, is the mean of what came there."""

from __future__ import annotations

import numpy as np
import pytest

from holter.surprise.cycle import Cycle

PARTS, SIGNALS, STEPS = 8, 400, 40


def _learnt(days: int, values: np.ndarray, scatter: float) -> Cycle:
    """Return what is known after so many days, of each part one block; *values* are ``(signals, parts)``."""
    random = np.random.default_rng(3)
    cycle = Cycle(SIGNALS, PARTS, span=1.0, part_steps=80.0)
    for part in [*range(PARTS)] * days:
        said = values[:, [part]] + scatter * random.normal(size=(SIGNALS, STEPS))
        counted = random.random((SIGNALS, STEPS)) < 0.1
        places = np.full((SIGNALS, STEPS), part + 0.5)
        cycle.learn(said, places, counted, np.full(SIGNALS, cycle.most_visits))
    return cycle


def test_each_part_has_its_mean() -> None:
    """And in the middle of it that is what is known."""
    true = np.random.default_rng(4).uniform(-2.5, 2.5, (SIGNALS, PARTS))
    cycle = _learnt(20, true, 0.0)
    rows = np.arange(SIGNALS)
    for part in range(PARTS):
        known = cycle.at(rows, np.array([part + 0.5]))
        assert np.abs(known - true[:, part]).max() <= 1 / 20
    between = cycle.at(rows, np.array([PARTS]))
    assert between == pytest.approx((cycle.at(rows, np.array([0.5])) + cycle.at(rows, np.array([PARTS - 0.5]))) / 2)


def test_what_is_little_adds_up() -> None:
    """Four values a day of a scatter of 1: after 80 days means scatter like those of at least 120, and are not off."""
    cycle = _learnt(80, np.full((SIGNALS, PARTS), 0.3), 1.0)
    known = np.stack([cycle.at(np.arange(SIGNALS), np.array([part + 0.5])) for part in range(PARTS)])
    assert known.mean() == pytest.approx(0.3, abs=0.01)
    assert known.std() < 120**-0.5


def test_what_is_not_counted_changes_nothing() -> None:
    """Neither means nor visits, however often it comes."""
    cycle = _learnt(3, np.ones((SIGNALS, PARTS)), 0.5)
    means, visits = cycle.means.copy(), cycle.visits.copy()
    places = np.broadcast_to(np.arange(PARTS) + 0.5, (SIGNALS, PARTS))
    for _ in range(50):
        cycle.learn(np.full((SIGNALS, PARTS), 9.0), places, np.zeros((SIGNALS, PARTS), bool), np.full(SIGNALS, 240.0))
    assert np.array_equal(means, cycle.means)
    assert np.array_equal(visits, cycle.visits)
