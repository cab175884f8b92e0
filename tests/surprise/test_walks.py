"""The tail of block maxima: learnt from few, and right in the mean over all that they may have been."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from holter.surprise.extremes import RAREST, Extremes
from holter.surprise.ranks import FAR, NEAR
from holter.surprise.walks import Tails, excess_of

BLOCK = 32
ALL = np.array([True])


def learnt(maxima: np.ndarray, prior: float = 1.0) -> Tails:
    """Return tails that have seen *maxima*, ``(blocks, signals)``."""
    tails = Tails(maxima.shape[1], BLOCK, np.array([1.0]), np.array([prior]))
    learns = np.ones(maxima.shape[1], np.bool_)
    for row in maxima:
        tails.learn(row[None, :], np.full((1, len(row)), np.inf), learns, ALL)
    return tails


@pytest.mark.parametrize("blocks", [30, 300])
@pytest.mark.parametrize("rarity", [20.0, 10_000.0])
def test_a_threshold_is_passed_as_often_as_asked(blocks: int, rarity: float) -> None:
    """In the mean over 4,000 signals that each learnt for themselves, at most twice, from few blocks as from many."""
    random = np.random.default_rng(1)
    tails = learnt(1.0 + random.exponential(2.0, (blocks, 4_000)), prior=2.0)
    height = tails.heights_for(np.full((1, 4_000), rarity * BLOCK))
    measured = np.exp(-np.maximum(height - 1.0, 0) / 2.0).mean()
    assert 0.3 < measured * rarity < 2.0


def test_height_and_return_period_are_the_inverse_of_each_other() -> None:
    """Above the level."""
    tails = learnt(np.random.default_rng(2).exponential(1.0, (100, 5)))
    steps = np.full((1, 5), 1e6)
    assert np.allclose(steps, tails.steps_until(tails.heights_for(steps)))


def test_the_mean_excess_of_a_walk_is_known_beforehand() -> None:
    """Lundberg: half of one over the drift; simulated for steps of a standard normal variable, clipped at 3."""
    random = np.random.default_rng(3)
    for drift in (0.25, 0.75):
        walk, maxima = np.zeros(4_000), []
        for _ in range(40):
            highest = np.zeros(4_000)
            for _ in range(BLOCK):
                walk = np.maximum(walk + np.clip(random.normal(size=4_000), -3, 3) - drift, 0)
                highest = np.maximum(highest, walk)
            maxima.append(highest)
        seen = np.concatenate(maxima[20:])
        level = np.quantile(seen, 0.65)
        assert (seen[seen > level] - level).mean() == pytest.approx(float(excess_of(drift)), rel=0.1)


def test_what_is_cut_off_counts_as_one_that_is_at_least_so_high() -> None:
    """So that the mean excess is that of the whole tail."""
    random = np.random.default_rng(4)
    tails = Tails(500, BLOCK, np.array([1.0]), np.array([2.0]))
    for _ in range(400):
        tails.learn(1 + random.exponential(2.0, (1, 500)), np.full((1, 500), 5.0), np.ones(500, np.bool_), ALL)
    assert tails.excess.mean() == pytest.approx(2.0, rel=0.1)


def test_an_excursion_tells_how_high_it_went_once_it_is_over() -> None:
    """A walk that goes up and up leaves the mean excess where it was; one that came down counts with its maximum."""
    tails = learnt(1 + np.random.default_rng(7).exponential(2.0, (30, 2)), prior=2.0)
    before, limit = tails.excess.copy(), np.full((1, 2), np.inf)
    for height in (10.0, 20.0, 30.0):
        tails.learn(np.full((1, 2), height), limit, np.ones(2, np.bool_), np.array([False, True]))
    assert (tails.excess[0, 0] == before[0, 0], tails.excess[0, 1] > 1.5 * before[0, 1]) == (True, True)


def test_what_theory_expects_counts_for_so_many_excesses() -> None:
    """It draws the threshold towards its own, and the more excesses are known the lower that is."""
    tails, steps = learnt(1 + np.random.default_rng(8).exponential(2.0, (30, 500)), prior=2.0), np.full((1, 500), 1e5)
    before = tails.heights_for(steps)
    tails.expect(np.full((1, 1), 2.0), np.full((1, 500), 30.0))
    after = tails.heights_for(steps)
    assert (after.std() < 0.7 * before.std(), after.mean() < before.mean()) == (True, True)
    assert np.allclose(steps, tails.steps_until(after))


def test_a_new_record_is_one_in_as_many_as_were_seen() -> None:
    """And one that is much further out is rarer, by no more than 100 times the past."""
    random = np.random.default_rng(5)
    extremes = Extremes(300)
    near, far = np.full((2, 2, 300), np.log(2.0)), np.full((2, 300), np.log(3.0))
    for _ in range(100):
        block = random.exponential(1.0, (2, 300, BLOCK)).max(2)
        extremes.learn(block, np.full(300, float(BLOCK)), np.ones(300, np.bool_))
    extremes.prepare(near, far)
    record = extremes.top.max(2).astype(float) + 1e-3
    assert 800 < np.median(extremes.steps_until(record)) < 12_000
    assert (extremes.steps_until(record + 1e6) <= RAREST * 3_201).all()
    assert np.isinf(extremes.heights_for(np.full((2, 300), 1e9))).all()


def test_what_equals_one_that_is_kept_is_not_above_it() -> None:
    """Counts and other whole numbers come again: once more the same is nothing new."""
    heights = np.broadcast_to(np.log1p(np.arange(1.0, 501.0)), (2, 500))
    extremes = Extremes(500)
    for _ in range(20):
        extremes.learn(heights, np.full(500, float(BLOCK)), np.ones(500, np.bool_))
    extremes.prepare(np.full((2, 500), np.log(2.0)), np.full((2, 500), np.log(3.0)))
    assert (extremes.steps_until(heights) == 1.0).all()
    assert (extremes.steps_until(heights + 0.1) > 80.0).all()


@pytest.mark.parametrize(
    "family", [stats.norm, stats.lognorm(1), stats.t(3), stats.expon], ids=["norm", "lognorm", "t3", "expon"]
)
def test_a_value_beyond_all_others_is_as_rare_as_it_is_called(family) -> None:
    """Be the tail light or heavy: one in 20 times the past, in the mean over 2,000 signals, to a factor of two."""
    random, signals, blocks = np.random.default_rng(6), 2_000, 600
    median, near, far = family.ppf(0.5), family.ppf(stats.norm.cdf(NEAR)), family.ppf(stats.norm.cdf(FAR))
    unit = near - median
    extremes = Extremes(signals)
    # The eight largest blocks of a long past, by the order statistics of uniform shares.
    shares = np.cumsum(random.exponential(size=(signals, 8)), axis=1) / (blocks * BLOCK)
    extremes.top[:] = np.log1p((family.isf(shares) - median) / unit)
    extremes.blocks[:], extremes.values[:] = blocks, blocks * BLOCK
    extremes.prepare(np.full((2, signals), np.log(2.0)), np.full((2, signals), np.log1p((far - median) / unit)))
    steps = 20.0 * blocks * BLOCK
    height = extremes.heights_for(np.full((2, signals), steps))[0]
    measured = family.sf(median + unit * np.expm1(height)).mean() * steps
    assert 0.5 < measured < 2.0
    assert np.allclose(steps, extremes.steps_until(np.stack([height, height])))
