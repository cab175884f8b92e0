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

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

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


def _stretched(rarity: Floats | np.float64, bend: Floats) -> Floats:
    """Return the height, in some unit, that one in exp(*rarity*) values is above."""
    height: Floats = (rarity**bend - 1.0) / bend
    return height


_WIDTHS: Final = np.diff(_BENDS)[:, None, None]
_FIRST, _SECOND = (_stretched(one, _BENDS[:, None]) for one in _RARITIES[:, None])
Kept: TypeAlias = npt.NDArray[np.intp]


def _evidence(kept: Kept) -> Floats:
    """Return how many excesses the mean rests on; the smallest of those *kept* is the level, and no excess."""
    return np.asarray(kept - 1 + _PRIOR)


class Extremes:
    """The largest values of ``(2, signals)``, above and below, in orders of magnitude: 40 bytes a signal."""

    def __init__(self, count: int) -> None:
        self.top = np.zeros((2, count, KEPT), np.float16)
        self.blocks = np.zeros(count, np.float32)
        self.values = np.zeros(count, np.float32)

    def prepare(self, near: Floats, far: Floats) -> None:
        """
        Derive what is asked each update, after a block or a change of the arrays.

        *near* and *far* are the heights that the scores `NEAR` and `FAR` lie at, ``(2, signals)``.
        """
        level, kept, _, rarity = self._past()
        above = np.where(np.arange(KEPT) < kept[:, None], self.top - level[:, :, None], 0.0).sum(2)
        bend, expected = self._bent(near, far, level, rarity)
        excess = np.maximum((above + _PRIOR * expected) / _evidence(kept), _LEAST)
        self._bend, self._excess = bend.astype(np.float32), excess.astype(np.float32)

    def _past(self) -> tuple[Floats, Kept, Floats, Floats]:
        """
        Return the level, how many values lie at it or above, how many there are for each of them, and the log of that.

        That is not kept: it is asked seldom.
        """
        # Of few blocks the upper half; the others are no tail.
        kept = np.minimum(np.maximum(np.floor(self.blocks / 2), 1), KEPT).astype(np.intp)
        level = self.top[:, np.arange(len(kept)), kept - 1].astype(np.float64)
        steps = np.maximum(self.values, 1.0) / kept
        return level, kept, steps, np.log(np.maximum(steps, 3.0))

    def _bent(self, near: Floats, far: Floats, level: Floats, rarity: Floats) -> tuple[Floats, Floats]:
        """Return the bend of each tail, and the mean excess over the level that it lets expect."""
        past = np.maximum(rarity - _RARITIES[1], 0.1)
        ratios = (_stretched(_RARITIES[1] + past, _BENDS[:, None]) - _SECOND) / (_SECOND - _FIRST)
        apart = far - near
        tells = (apart > _LEAST) & (level > far)
        ratio = (level - far) / np.where(tells, apart, 1.0)
        # From each of the ratios to the next one the bend goes over from one to the other.
        low, high = ratios[:-1, None], ratios[1:, None]
        bend = _BENDS[0] + (_WIDTHS * np.minimum(np.maximum((ratio - low) / (high - low), 0.0), 1.0)).sum(0)
        sure = np.where(tells, np.minimum(np.maximum((past - _APART) / _APART, 0.0), 1.0), 0.0)
        bend = 1.0 - sure * (1.0 - bend)
        rise = _stretched(_RARITIES[1] + past, bend) - _stretched(_RARITIES[1], bend)
        expected = np.maximum(level - far, 0.0) / rise * rarity ** (bend - 1.0)
        # Beyond a power law there is a gap, within which nothing lies: less is expected of what is beyond it.
        expected *= np.sqrt(np.minimum(ratios[-1] / np.maximum(ratio, _LEAST), 1.0))
        return bend, _EXCESS + sure * (expected - _EXCESS)

    def steps_until(self, heights: Floats) -> Floats:
        """Return after how many values, in the mean, one is as far out as *heights* while nothing changes."""
        level, kept, steps, rarity = self._past()
        evidence = _evidence(kept)
        over = np.maximum(heights - level, 0.0) / self._excess
        with np.errstate(over="ignore"):
            further = np.expm1(np.log1p(self._bend * over / rarity) / self._bend)
            steps = steps * (1.0 + rarity * further / evidence) ** evidence
        return np.where(over > 0.0, np.minimum(steps, RAREST * (self.values + 1.0)), 1.0)

    def heights_for(self, steps: Floats) -> Floats:
        """Return how far out one value in so many *steps* is; infinite for what is rarer than may be said."""
        level, kept, steps_each, rarity = self._past()
        evidence = _evidence(kept)
        times = np.maximum(np.minimum(steps, RAREST * (self.values + 1.0)) / steps_each, 1.0)
        further = evidence * np.expm1(np.log(times) / evidence) / rarity
        over = rarity * np.expm1(self._bend * np.log1p(further)) / self._bend
        return np.where(steps <= RAREST * (self.values + 1.0), level + self._excess * over, np.inf)

    def learn(self, maxima: Floats, count: Floats, learns: Bools) -> None:
        """Take in the *maxima* of a block of *count* values each, of those that *learns* names."""
        smallest = self.top[:, :, -1]
        # Upwards, so that what is equal to one that is kept is not above it.
        short = maxima.astype(np.float16)
        short = np.where(short < maxima, np.nextafter(short, np.float16(np.inf)), short)
        self.top[:, :, -1] = np.where(learns, np.maximum(smallest, short), smallest)
        self.top[:] = -np.sort(-self.top.astype(np.float32), axis=2)
        self.blocks += learns
        self.values += np.where(learns, count, 0.0).astype(np.float32)
