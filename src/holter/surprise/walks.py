"""
Reflected walks, and how rare it is that each gets so high, by what it did itself.

A walk adds up evidence step by step and is never below 0: Page's cumulative sum (1954). How high it goes while
nothing changes depends on how the signal scatters and on how its values hang together, which no table knows; but of
any walk with bounded steps and a drift downwards the maximum of a block has an exponential tail (Iglehart, 1972, for
independent steps; Rootzén, 1988, for dependent ones). One number, the mean excess over a high level, says how steep.

That number is estimated from few blocks, and a plug-in threshold would be too low as often as too high, which costs
far more false alarms than it saves. So what is asked is the *predictive* share of blocks: with k excesses of mean m
seen, an excess above e has the share ``(1 + e / (k m)) ** -k``: exactly the share in the long run, estimation included.
Of signals that are known to be steady theory says what the mean excess is, and that counts for some excesses more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Bools, Floats

_QUANTILE: Final = 0.65
"""The level that this share of the blocks stays below; excesses are counted above it."""
_PRIOR_BLOCKS: Final = 4.0
"""How many excesses what is known of such walks beforehand counts for."""
_KEPT_BLOCKS: Final = 8.0
_KEPT_TIMES: Final = 3.0
SURE: Final = 1.645
"""Nine times in ten a normal variable is within so many deviations of its mean."""
MOST_BLOCKS: Final = 400.0
"""Older blocks count less, once so many are known."""


class Tails:
    """
    The upper tail of the block maxima of ``(statistics, signals)``, learnt block by block.

    *level* and *excess* are what is expected beforehand of each statistic: the level of the quantile, and the mean
    excess. 8 bytes for each statistic of a signal.
    """

    def __init__(self, count: int, block: int, level: Floats, excess: Floats) -> None:
        self.block = block
        shape = (len(level), count)
        self._prior, self._first = excess[:, None], level[:, None]
        self.level = np.broadcast_to(level[:, None], shape).astype(np.float32)
        self.excess = np.broadcast_to(excess[:, None], shape).astype(np.float32)
        """The mean excess over the level."""
        self._expected = self.excess.astype(np.float16)
        self._weight = np.zeros((1, count), np.float32)
        self.blocks = np.zeros((1, count), np.float32)
        """How many blocks were seen, of all statistics, up to 800; *excesses* are a fixed share of them."""

    @property
    def excesses(self) -> Floats:
        """How many excesses the mean rests on."""
        # Where older ones fade, those that still count are twice as many as the newest one is a part of.
        return self._counted(2.0 * MOST_BLOCKS) + self._weight

    def expect(self, excess: Floats, weight: npt.NDArray[np.float32]) -> None:
        """Let the mean *excess* that theory expects of each walk now count for so many excesses more."""
        self._expected, self._weight = excess.astype(np.float16), weight

    def _known(self) -> tuple[Floats, Floats]:
        """Return how many excesses the mean rests on, and the mean, with what is expected."""
        excesses = self.excesses
        return excesses, np.asarray(self.excess + self._weight / excesses * (self._expected - self.excess))

    def _counted(self, most: float) -> Floats:
        return _PRIOR_BLOCKS + (1.0 - _QUANTILE) * np.minimum(self.blocks, most).astype(np.float64)

    def steps_until(self, heights: Floats) -> Floats:
        """Return after how many steps, in the mean, each of the *heights* is reached while nothing changes."""
        excesses, mean = self._known()
        above = np.maximum(heights - self.level, 0.0) / (excesses * mean)
        log_share = np.log(1.0 - _QUANTILE) - excesses * np.log1p(above)
        steps: Floats = self.block * np.exp(np.minimum(-log_share, 600.0))
        # Below the level all that is known is that it is nothing unusual.
        return np.where(heights > self.level, steps, 1.0)

    def sureness(self, row: int) -> float:
        """Return by what factor the mean excess may be off, one time in ten: 1.2 for a fifth."""
        return 1.0 + SURE / float(np.sqrt(self.excesses[0, row]))

    def heights_for(self, steps: Floats) -> Floats:
        """Return the height that each is above once in so many *steps*, in the mean; infinite for infinite steps."""
        excesses, mean = self._known()
        times = np.maximum(steps * ((1.0 - _QUANTILE) / self.block), 1.0)
        with np.errstate(over="ignore"):
            above: Floats = self.level + excesses * mean * np.expm1(np.log(times) / excesses)
        return above

    def learn(self, maxima: Floats, limit: Floats, learns: Bools, is_over: Bools) -> None:
        """
        Take in the *maxima* of a block of those that *learns* names; above *limit* they count as at least so high.

        A walk that is still up may be one that never comes down again: its height tells once the excursion *is_over*,
        and *maxima* are by then those of all of it.
        """
        seen = np.minimum(self.blocks, MOST_BLOCKS)
        excesses = self._counted(MOST_BLOCKS)
        is_above = maxima > self.level
        # Censored: what was cut at the limit adds its height, and is no excess of known size.
        cut = maxima > limit
        height = np.minimum(maxima, limit) - self.level
        gain = np.where(is_above & is_over, (height - np.where(cut, 0.0, self.excess)) / (excesses + 1.0), 0.0)
        # Robbins and Monro's quantile: up by the share that lies below, down by the share that lies above. An
        # exponential tail has no memory, so the mean excess stays what it is while the level moves.
        pace = 2.5 / (seen + 4.0) ** 0.8
        move = self.excess * pace * np.where(is_above, _QUANTILE, _QUANTILE - 1.0) / (1.0 - _QUANTILE)
        self.level += np.where(learns, move, 0.0).astype(np.float32)
        self.excess += np.where(learns, gain, 0.0).astype(np.float32)
        np.maximum(self.excess, 0.02 * self._prior, out=self.excess)
        np.maximum(self.level, 0.02 * self._prior, out=self.level)
        np.minimum(self.blocks + learns, 2.0 * MOST_BLOCKS, out=self.blocks)

    def forget(self, which: Bools) -> None:
        """Let what was learnt count for a few blocks only, for the signals that *which* names."""
        self.blocks[:, which] = np.minimum(self.blocks[:, which], _KEPT_BLOCKS)
        self.level[:, which] = np.minimum(self.level[:, which], _KEPT_TIMES * self._first)
        self.excess[:, which] = np.minimum(self.excess[:, which], _KEPT_TIMES * self._prior)


def level_of(drift: npt.ArrayLike) -> Floats:
    """Return the level that blocks of 32 steps of a walk of standard normal scores stay below, 65 of 100."""
    return 1.45 / np.asarray(drift, float) ** 0.85


def excess_of(drift: npt.ArrayLike) -> Floats:
    """Return the mean excess of a walk of standard normal scores: Lundberg's exponent is twice the drift."""
    return 1.0 / (2.0 * np.asarray(drift, float))
