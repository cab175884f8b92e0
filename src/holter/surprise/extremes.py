"""
How rare a value is that lies beyond nearly all that a signal ever showed.

Kept are the eight largest block maxima on each side, in orders of magnitude about the median: a new record among n
values is one in n + 1, whatever the distribution. How much further than that, the spacing of the eight tells, which is
exponential in orders of magnitude: exact for tails that fall like a power (Hill, 1975), on the safe side for lighter
ones. As for walks it is the predictive share that counts, so that eight values are not taken for certainty.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats

KEPT: Final = 8
_PRIOR: Final = 1.0
_EXCESS: Final = 0.2
"""What is expected beforehand: values are off by a fifth more than the eighth largest, as one value seen."""
RAREST: Final = 100.0
"""A single value is never called rarer than this many times the past."""


class Extremes:
    """The largest values of ``(2, signals)``, above and below, in orders of magnitude: 72 bytes a signal."""

    def __init__(self, count: int) -> None:
        self.top = np.zeros((2, count, KEPT), np.float32)
        self.blocks = np.zeros(count, np.float32)
        self.values = np.zeros(count, np.float32)
        self.prepare()

    def prepare(self) -> None:
        """Derive what is asked each update, after a block or a change of the arrays."""
        # Of few blocks the upper half; the others are no tail.
        self._kept = np.clip(np.floor(self.blocks / 2), 1, KEPT).astype(np.intp)
        rows = np.arange(self.top.shape[1])
        self._level: Floats = self.top[:, rows, self._kept - 1].astype(np.float64)
        above = np.where(np.arange(KEPT) < self._kept[:, None], self.top - self._level[:, :, None], 0.0).sum(2)
        self._evidence = self._kept + _PRIOR
        self._excess = np.maximum((above + _PRIOR * _EXCESS) / self._evidence, 1e-3)
        # So many values a value above the level.
        self._steps = np.maximum(self.values, 1.0) / self._kept

    def steps_until(self, heights: Floats) -> Floats:
        """Return after how many values, in the mean, one is as far out as *heights* while nothing changes."""
        over = heights - self._level
        steps = self._steps * (1.0 + np.maximum(over, 0.0) / (self._evidence * self._excess)) ** self._evidence
        return np.where(over > 0.0, np.minimum(steps, RAREST * (self.values + 1.0)), 1.0)

    def heights_for(self, steps: Floats) -> Floats:
        """Return how far out one value in so many *steps* is; infinite for what is rarer than may be said."""
        times = np.maximum(steps / self._steps, 1.0)
        height = self._level + self._evidence * self._excess * np.expm1(np.log(times) / self._evidence)
        return np.where(steps <= RAREST * (self.values + 1.0), height, np.inf)

    def learn(self, maxima: Floats, count: Floats, learns: Bools) -> None:
        """Take in the *maxima* of a block of *count* values each, of those that *learns* names."""
        smallest = self.top[:, :, -1]
        self.top[:, :, -1] = np.where(learns, np.maximum(smallest, maxima), smallest)
        self.top[:] = -np.sort(-self.top, axis=2)
        self.blocks += learns
        self.values += np.where(learns, count, 0.0).astype(np.float32)
