"""Where a row of figures changed."""

from __future__ import annotations

import numpy as np
import pytest

from holter.changes import ENOUGH, stretch_of_counts, stretch_of_levels

SEEDS = range(40)


@pytest.mark.parametrize(("count", "start", "end"), [(20, 10, 20), (30, 12, 30), (60, 20, 35), (150, 140, 150)])
def test_a_planted_stretch_is_found_where_it_is(count: int, start: int, end: int) -> None:
    """A level that trebles for a while is found with both its ends."""
    for seed in SEEDS:
        levels = np.random.default_rng(seed).normal(0, 0.05, count)
        levels[start:end] += np.log(3)
        stretch = stretch_of_levels(levels)
        assert stretch is not None
        assert (start, end) == (stretch.start, stretch.end)
        assert stretch.evidence > ENOUGH


@pytest.mark.parametrize("count", [7, 10, 30, 150])
def test_noise_is_no_evidence(count: int) -> None:
    """Normal, skewed and heavy-tailed scatter alike stay below what is asked for, but for one in 200."""
    found = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        for noise in (random.normal(0, 1, count), random.exponential(1, count), np.log(1 + random.pareto(1.5, count))):
            stretch = stretch_of_levels(noise)
            assert stretch is not None
            found.append(stretch.evidence)
    assert np.mean(np.array(found) > ENOUGH) <= 1 / 200


def test_what_follows_its_neighbours_counts_less() -> None:
    """A level that wanders is no evidence, though its stretches differ far more than those of white noise."""
    found = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        levels = np.zeros(100)
        for index in range(1, 100):
            levels[index] = 0.8 * levels[index - 1] + random.normal(0, 0.3)
        stretch = stretch_of_levels(levels)
        assert stretch is not None
        found.append(stretch.evidence)
    assert max(found) < ENOUGH


def test_one_outlier_makes_no_stretch_sure() -> None:
    """However far it lies."""
    levels = np.random.default_rng(1).normal(0, 0.05, 30)
    levels[20] += 12
    stretch = stretch_of_levels(levels)
    assert stretch is not None
    assert stretch.evidence < ENOUGH


def test_equal_figures_are_no_evidence() -> None:
    """Nothing changes where nothing scatters either."""
    stretch = stretch_of_levels(np.zeros(20))
    assert stretch is not None
    assert stretch.evidence == 0


def test_failures_are_found_where_they_begin_and_end() -> None:
    """A third of the calls failing for a while, among hundreds, is beyond doubt."""
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        calls = random.poisson(100, 40).astype(float)
        share = np.where((np.arange(40) >= 20) & (np.arange(40) < 30), 0.3, 0.0)
        stretch = stretch_of_counts(random.binomial(calls.astype(int), share).astype(float), calls)
        assert stretch is not None
        assert (20, 30) == (stretch.start, stretch.end)
        assert stretch.evidence > ENOUGH


@pytest.mark.parametrize("share", [0.001, 0.05, 0.4])
def test_failures_that_come_evenly_are_no_evidence(share: float) -> None:
    """As many as chance has it, whether few or many."""
    for seed in range(100):
        random = np.random.default_rng(seed)
        calls = random.poisson(30, 60)
        stretch = stretch_of_counts(random.binomial(calls, share).astype(float), calls.astype(float))
        assert stretch is None or stretch.evidence < ENOUGH


def test_failures_that_always_come_in_bursts_are_no_evidence() -> None:
    """One more burst is what was to be expected."""
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        calls = np.full(100, 50)
        bursts = np.where(random.random(100) < 0.1, 0.3, 0.01)
        stretch = stretch_of_counts(random.binomial(calls, bursts).astype(float), calls.astype(float))
        assert stretch is not None
        assert stretch.evidence < ENOUGH


def test_too_few_figures_are_not_judged() -> None:
    """Four before and three after are the least; without an event there is nothing to judge."""
    assert [None, None, None] == [
        stretch_of_levels(np.zeros(6)),
        stretch_of_counts(np.ones(6), np.ones(6)),
        stretch_of_counts(np.zeros(20), np.ones(20)),
    ]
