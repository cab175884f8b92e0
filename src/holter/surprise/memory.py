"""Whether a signal forgets, so that what it did tells what it will do: if not, it cannot be judged by its past."""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats

_GROUP: Final = 8
_LEAST_GROUPS: Final = 6
_LEAST_DAILY_GROUPS: Final = 2
"""Where the time of the day is used so few tell of what it leaves."""
_SURE_DAILY_GROUPS: Final = 12
"""Before so many are known there, less is long."""
_MOST_GROUPS: Final = 24.0
_LONG: Final = 0.35
"""Means of 8 blocks have an eighth of the variance of one where nothing is remembered, all of it where all is."""
_LONG_AT_FIRST: Final = 0.2
"""That much is then: of few blocks both are known badly."""
_LEAST: Final = 0.05
"""As long as they are off by less, in squares of the scatter, what is remembered is no matter."""


class Memory:
    """
    How long the memory of *count* signals is: the variance of means over 8 blocks, beside that over one.

    Of independent values it is an eighth, of a random walk nearly the same. Costs 16 bytes a signal.
    """

    def __init__(self, count: int) -> None:
        self.sum = np.zeros(count, np.float32)
        self.blocks = np.zeros(count, np.float32)
        self.variance = np.zeros((2, count), np.float32)

    def learn(self, means: Floats, there: Bools) -> None:
        """Take in the *means* of a block of scores about what is usual, over their scatter."""
        self.blocks += there
        pace = 1.0 / np.minimum(np.maximum(self.blocks, 1.0), _MOST_GROUPS * _GROUP)
        self.variance[0] += np.where(there, pace * (means**2 - self.variance[0]), 0.0).astype(np.float32)
        self.sum += np.where(there, means, 0.0).astype(np.float32)
        done = there & (self.blocks % _GROUP == 0)
        pace = 1.0 / np.minimum(np.maximum(self.blocks / _GROUP, 1.0), _MOST_GROUPS)
        squares = (self.sum / _GROUP) ** 2
        self.variance[1] += np.where(done, pace * (squares - self.variance[1]), 0.0).astype(np.float32)
        self.sum[done] = 0.0

    def forget(self, which: Bools) -> None:
        """Begin anew for the signals that *which* names."""
        self.sum[which], self.blocks[which], self.variance[:, which] = 0.0, 0.0, 0.0

    def told(self, is_daily: Bools) -> tuple[Bools, Bools]:
        """
        Return of which signals it is known how long their memory is, and which remember for hundreds of steps.

        Before that is known they do not. But those that *is_daily* names, whose time of the day is used, do: traffic
        that is more today than yesterday wanders about it for hours, and walks know nothing of that yet.
        """
        groups = self.blocks / _GROUP
        is_known = groups >= np.where(is_daily, _LEAST_DAILY_GROUPS, _LEAST_GROUPS)
        most = np.where(is_daily & (groups < _SURE_DAILY_GROUPS), _LONG_AT_FIRST, _LONG)
        is_long = (self.variance[1] > most * self.variance[0]) & (self.variance[1] > _LEAST)
        return is_known, np.where(is_known, is_long, is_daily)
