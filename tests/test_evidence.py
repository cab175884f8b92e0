"""E-processes on shares: within the bounds they seldom grow, however often one looks; beyond them they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from holter.evidence import Evidence

SHARES = st.floats(0.0, 1.0)


def evidence(lower: float, upper: float) -> Evidence:
    return Evidence(np.array([lower]), np.array([upper]), np.ones(1))


def expected_stake(bet: Evidence, share: float) -> np.ndarray:
    """Return what each stake is expected to become by one row."""
    one, none = (np.exp(bet.ratios(1.0, np.array([count]))) for count in (1.0, 0.0))
    return share * one + (1 - share) * none


@given(SHARES, SHARES, SHARES)
def test_within_the_bounds_no_stake_is_expected_to_grow(one: float, other: float, share: float) -> None:
    """For any bounds and any share within them; that is all that Ville's inequality asks."""
    lower, upper = min(one, other), max(one, other)
    within = lower + share * (upper - lower)
    assert expected_stake(evidence(lower, upper), within).max() <= 1 + 1e-9


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.09))
def test_beyond_a_bound_some_stake_is_expected_to_grow(upper: float, beyond: float) -> None:
    """And below the other one too."""
    assert expected_stake(evidence(-1.0, upper), upper + beyond).max() > 1
    assert expected_stake(evidence(1 - upper, 2.0), 1 - upper - beyond).max() > 1


def test_it_is_the_average_of_likelihood_ratios() -> None:
    """Against scipy's binomial: of eight alternatives beyond each bound."""
    lower, upper, rows, count = 0.3, 0.6, 250, 170
    steps = 0.01 * 1.85 ** np.arange(8)
    ratios = []
    for bound, seen in ((upper, count), (1 - lower, rows - count)):
        others = bound + np.minimum(steps * np.sqrt(bound * (1 - bound)), 0.98 * (1 - bound))
        ratios += [stats.binom.logpmf(seen, rows, other) - stats.binom.logpmf(seen, rows, bound) for other in others]
    expected = special.logsumexp(ratios) - np.log(16)
    assert expected == pytest.approx(evidence(lower, upper).log(rows, np.array([count])))


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=6))
def test_parts_add_up(parts: list[tuple[int, float]]) -> None:
    """The stakes of parts, added, are those of the whole: counts are all that matters."""
    bet = evidence(0.4, 0.6)
    counted = [(rows, np.array([round(rows * share)])) for rows, share in parts]
    whole = bet.ratios(sum(rows for rows, _ in counted), sum(count for _, count in counted))
    assert np.allclose(whole, sum(bet.ratios(rows, count) for rows, count in counted))


def test_a_detector_adds_up_all_beginnings() -> None:
    """The recursion is the sum over the looks at which one could have begun betting."""
    bet, random = evidence(0.4, 0.6), np.random.default_rng(1)
    counts = random.binomial(20, 0.5, size=30)
    stakes = bet.nothing()
    for count in counts:
        stakes = bet.detected(stakes, 20, np.array([count]))
    begun = [bet.ratios(20 * (30 - start), np.array([counts[start:].sum()])) for start in range(30)]
    assert np.allclose(stakes, special.logsumexp(begun, axis=0))


def test_a_bound_that_nothing_can_pass_tells_nothing() -> None:
    """Where the null holds whatever comes the evidence stays what it was."""
    everything = evidence(-0.1, 1.1)
    assert 0.0 == pytest.approx(everything.log(1_000, np.array([1_000])))


def test_looking_after_every_row_raises_no_false_alarms() -> None:
    """In 2,000 runs of 1,000 rows at the very edge of the null, alpha 0.05."""
    bet, random = evidence(-1.0, 0.55), np.random.default_rng(2)
    alarms = 0
    for _ in range(2_000):
        counts = np.cumsum(random.random(1_000) < 0.55)
        rows = np.arange(1, 1_001)
        hit, miss = bet.ratios(1.0, np.ones(1))[0, 0], bet.ratios(1.0, np.zeros(1))[0, 0]
        logs = special.logsumexp(np.outer(counts, hit) + np.outer(rows - counts, miss), axis=1) - np.log(16)
        # The other bound's eight stakes stay 1 each, as no share can pass it.
        alarms += bool((np.logaddexp(logs, np.log(0.5)) >= np.log(20)).any())
    assert alarms / 2_000 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2_000)
