"""
How rare a value is that lies beyond nearly all that a signal ever showed.

Kept are the eight largest block maxima on each side, in orders of magnitude about the median: a new record among n
values is one in n + 1, whatever the distribution. How much further than that, the spacing of the eight tells. As for
walks it is the predictive share that counts, so that eight values are not taken for certainty.

How spacings go on depends on the tail. Of heights that one value in n is above, the slope over log n goes like
(log n) ** (bend - 1): a bend of 1 is a tail that falls like a power (Hill, 1975), 1/2 a lognormal one, 0 a Weibull or a
normal one; of tails that end the bend would be less, and 0 is the safe side. It is read off three heights: of one value
in 6, of one in 50, and of the eighth largest; where these tell nothing it is 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats, share_below
from holter.surprise.ranks import FAR, NEAR

KEPT: Final = 8
_PRIOR: Final = 2.0
"""For so many values counts the spacing that the three heights let expect."""
_EXCESS: Final = 0.2
"""What is expected while they tell nothing: values are off by a fifth more."""
RAREST: Final = 100.0
"""A single value is never called rarer than this many times the past."""
_BENDS: Final = np.array([1e-3, 0.5, 1.0])
_APART: Final = 1.5
"""So many powers of e rarer than one value in 50 has the eighth largest to be, to tell of the bend."""
_LEAST: Final = 1e-3
"""Heights that are no further apart are ties, and no tail."""


_RARITIES: Final = -np.log(1.0 - share_below(np.array([NEAR, FAR])))


def _stretched(rarity: Floats, bend: Floats) -> Floats:
    """Return the height, in some unit, that one in exp(*rarity*) values is above."""
    height: Floats = (rarity**bend - 1.0) / bend
    return height


class Extremes:
    """The largest values of ``(2, signals)``, above and below, in orders of magnitude: 72 bytes a signal."""

    def __init__(self, count: int) -> None:
        self.top = np.zeros((2, count, KEPT), np.float32)
        self.blocks = np.zeros(count, np.float32)
        self.values = np.zeros(count, np.float32)

    def prepare(self, near: Floats, far: Floats) -> None:
        """
        Derive what is asked each update, after a block or a change of the arrays.

        *near* and *far* are the heights that the scores `NEAR` and `FAR` lie at, ``(2, signals)``.
        """
        # Of few blocks the upper half; the others are no tail.
        kept = np.clip(np.floor(self.blocks / 2), 1, KEPT).astype(np.intp)
        rows = np.arange(self.top.shape[1])
        self._level: Floats = self.top[:, rows, kept - 1].astype(np.float64)
        above = np.where(np.arange(KEPT) < kept[:, None], self.top - self._level[:, :, None], 0.0).sum(2)
        # So many values a value above the level, and that in powers of e.
        self._steps = np.maximum(self.values, 1.0) / kept
        self._rarity = np.log(np.maximum(self._steps, 3.0))
        self._bend, expected = self._bent(near, far)
        # The smallest of those kept is the level, and no excess.
        self._evidence = kept - 1 + _PRIOR
        self._excess = np.maximum((above + _PRIOR * expected) / self._evidence, _LEAST)
        for name in ("_level", "_steps", "_rarity", "_bend", "_evidence", "_excess"):
            setattr(self, name, getattr(self, name).astype(np.float32))

    def _bent(self, near: Floats, far: Floats) -> tuple[Floats, Floats]:
        """Return the bend of each tail, and the mean excess over the level that it lets expect."""
        first, second = (_stretched(rarity, _BENDS[:, None]) for rarity in _RARITIES[:, None])
        past = np.maximum(self._rarity - _RARITIES[1], 0.1)
        ratios = (_stretched(_RARITIES[1] + past, _BENDS[:, None]) - second) / (second - first)
        tells = (far - near > _LEAST) & (self._level > far)
        ratio = (self._level - far) / np.where(tells, far - near, 1.0)
        bend = np.full(ratio.shape, _BENDS[0])
        for low, high, start, step in zip(ratios[:-1], ratios[1:], _BENDS[:-1], np.diff(_BENDS), strict=True):
            bend = np.where(ratio > low, start + step * np.minimum((ratio - low) / (high - low), 1.0), bend)
        sure = np.where(tells, np.clip((past - _APART) / _APART, 0.0, 1.0), 0.0)
        bend = 1.0 - sure * (1.0 - bend)
        rise = _stretched(_RARITIES[1] + past, bend) - _stretched(np.full_like(bend, _RARITIES[1]), bend)
        expected = np.maximum(self._level - far, 0.0) / rise * self._rarity ** (bend - 1.0)
        # Beyond a power law there is a gap, within which nothing lies: less is expected of what is beyond it.
        expected *= np.sqrt(np.minimum(ratios[-1] / np.maximum(ratio, _LEAST), 1.0))
        return bend, _EXCESS + sure * (expected - _EXCESS)

    def steps_until(self, heights: Floats) -> Floats:
        """Return after how many values, in the mean, one is as far out as *heights* while nothing changes."""
        over = np.maximum(heights - self._level, 0.0) / self._excess
        with np.errstate(over="ignore"):
            further = np.expm1(np.log1p(self._bend * over / self._rarity) / self._bend)
            steps = self._steps * (1.0 + self._rarity * further / self._evidence) ** self._evidence
        return np.where(over > 0.0, np.minimum(steps, RAREST * (self.values + 1.0)), 1.0)

    def heights_for(self, steps: Floats) -> Floats:
        """Return how far out one value in so many *steps* is; infinite for what is rarer than may be said."""
        times = np.maximum(np.minimum(steps, RAREST * (self.values + 1.0)) / self._steps, 1.0)
        further = self._evidence * np.expm1(np.log(times) / self._evidence) / self._rarity
        over = self._rarity * np.expm1(self._bend * np.log1p(further)) / self._bend
        return np.where(steps <= RAREST * (self.values + 1.0), self._level + self._excess * over, np.inf)

    def learn(self, maxima: Floats, count: Floats, learns: Bools) -> None:
        """Take in the *maxima* of a block of *count* values each, of those that *learns* names."""
        smallest = self.top[:, :, -1]
        self.top[:, :, -1] = np.where(learns, np.maximum(smallest, maxima), smallest)
        self.top[:] = -np.sort(-self.top, axis=2)
        self.blocks += learns
        self.values += np.where(learns, count, 0.0).astype(np.float32)
