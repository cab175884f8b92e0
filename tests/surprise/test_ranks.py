"""Ranks among the past: bounded scores that are standard normal, whatever the values are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holter.ring import NATIVE
from holter.surprise.normal import score_of, share_below
from holter.surprise.ranks import EDGES, GRID, QUANTILES, SHARES, Fresh, Past, Ranks, merge_in_numpy

native = pytest.mark.skipif(NATIVE is None, reason="there is no extension")


def learnt(values: np.ndarray, block: int = 32, most: float = 1e9) -> Ranks:
    """Return the ranks of one signal that has had *values*."""
    ranks = Ranks(1)
    for start in range(0, len(values), block):
        past = np.minimum(ranks.known, np.float32(most))
        ranks.learn(values[None, start : start + block].astype(np.float32), np.array([0]), past)
    ranks.prepare()
    return ranks


def scored(ranks: Ranks, values: np.ndarray) -> np.ndarray:
    """Return the score of each value."""
    return np.array([ranks.scores(np.array([value], np.float32))[0] for value in values])


def test_the_table_of_the_normal_distribution_is_that_of_scipy() -> None:
    """Both ways."""
    scores = np.linspace(-3.5, 3.5, 999)
    assert np.allclose(share_below(scores), stats.norm.cdf(scores), atol=2e-6)
    assert np.allclose(score_of(stats.norm.cdf(scores)), scores, atol=1e-3)


@pytest.mark.parametrize("family", [stats.norm, stats.lognorm(1), stats.t(3), stats.expon], ids=str)
def test_scores_are_those_of_the_true_distribution(family) -> None:
    """After 5,000 values: to a tenth of a standard deviation within two, for heavy tails as for light ones."""
    random = np.random.default_rng(1)
    ranks = learnt(family.rvs(size=5_024, random_state=random))
    expected = np.linspace(-2, 2, 41)
    assert np.abs(scored(ranks, family.ppf(stats.norm.cdf(expected))) - expected).max() < 0.13


def test_ties_have_the_middle_of_their_ranks() -> None:
    """Of counts that are mostly 0, a 0 is nothing unusual, and the mean share is a half."""
    random = np.random.default_rng(2)
    values = random.poisson(0.2, 6_400).astype(float)
    ranks = learnt(values)
    expected = [stats.poisson(0.2).cdf(value) - stats.poisson(0.2).pmf(value) / 2 for value in (0, 1)]
    assert np.allclose(share_below(scored(ranks, np.array([0.0, 1.0]))), expected, atol=0.05)


def test_a_constant_is_usual_and_all_else_is_as_far_out_as_may_be() -> None:
    """On either side."""
    ranks = learnt(np.full(640, 7.0))
    low, same, high = scored(ranks, np.array([6.9, 7.0, 7.1]))
    assert abs(same) < 1e-6
    assert (low, high) == (pytest.approx(-high), pytest.approx(3.2, abs=0.1))


def test_of_few_values_none_is_rarer_than_one_in_so_many() -> None:
    """The furthest score is that of the share (n + 0.5) / (n + 1)."""
    ranks = learnt(np.random.default_rng(3).normal(size=64))
    assert scored(ranks, np.array([1e9]))[0] == pytest.approx(stats.norm.ppf(64.5 / 65), abs=0.01)


def test_an_old_past_is_outlived() -> None:
    """Where the past is bounded, what came since is what counts."""
    random = np.random.default_rng(4)
    ranks = learnt(np.concatenate([random.normal(size=3_200), random.normal(5, 1, 3_200)]), most=320)
    assert abs(scored(ranks, np.array([5.0]))[0]) < 0.2
    assert (np.diff(ranks.quantiles[0]) >= 0).all()
    assert len(GRID) == ranks.quantiles.shape[1]


def pasts(random: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """Return a block, rows, pasts, quantiles and how many are known: with gaps, ties, and signals without a past."""
    quantiles = np.sort(random.normal(size=(count, QUANTILES)), axis=1)
    quantiles[::3] = np.round(quantiles[::3])
    quantiles[::5] = 7.0
    block = np.where(random.random((count, 32)) < 0.8, 3 * random.normal(size=(count, 32)), quantiles[:, ::2])
    block[random.random((count, 32)) < 0.3] = np.nan
    block[::7] = np.nan
    block[::11] *= 1e30
    known = np.where(random.random(count) < 0.2, 0, random.integers(1, 9_000, count))
    past = np.minimum(known, random.integers(1, 5_000, count))
    rows = np.flatnonzero(random.random(count) < 0.8)
    single = np.float32
    return block.astype(single), rows, past.astype(single), quantiles.astype(single), known.astype(single)


@native
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_a_block_is_merged_in_c_as_it_is_in_numpy(seed: int, count: int) -> None:
    """Quantiles to a float's last bits, and how many are known."""
    block, rows, past, *mine = pasts(np.random.default_rng(seed), count)
    theirs = [one.copy() for one in mine]
    fresh = Fresh(block, rows, past)
    merge_in_numpy(fresh, Past(SHARES, EDGES, *mine))
    NATIVE.merge(fresh, Past(SHARES, EDGES, *theirs))
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


@native
def test_arrays_that_do_not_fit_are_not_merged() -> None:
    """Of another length or kind, or rows that are not there: they would be read beyond their end."""
    fitting = *pasts(np.random.default_rng(1), 8)[:3], SHARES, EDGES, *pasts(np.random.default_rng(1), 8)[3:]
    wrong = [(at, fitting[at][:-1]) for at in range(2, 7)]
    wrong += [(0, fitting[0][1:, 1:].copy()), (0, np.zeros((8, 65), np.float32))]
    wrong += [(1, np.array([8])), (1, np.array([-1])), (1, np.array([0], np.int32))]
    for at, other in wrong:
        bad = *fitting[:at], other, *fitting[at + 1 :]
        with pytest.raises(ValueError, match="expected"):
            NATIVE.merge(bad[:3], bad[3:])
    for others in ((fitting[:3],), (fitting[:3], fitting[3:6]), (list(fitting[:3]), fitting[3:])):
        with pytest.raises(TypeError):
            NATIVE.merge(*others)
