"""
Whether a signal goes on as values would that know nothing of each other.

Told by two numbers, both 1 for such values: how much the means of blocks scatter beside what their number lets expect,
which a level that wanders raises, and what the correlation of neighbours alone would make of it. Of a signal that is
steady more may be taken for known: walks go as high as theory says (Lundberg), what is usual need not be followed
closely, and a walk that is up is more likely a change than something that the signal does now and then.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats, Singles

_LEAST_BLOCKS: Final = 24.0
"""Of fewer the scatter of means tells nothing; it is known to a quarter after about as many."""
_MOST_BLOCKS: Final = 192.0
_UP_PACE: Final = 0.25
"""So much slower is learnt while a walk is up: what has changed just now is not at once what the signal is like."""
_SWING, _SWING_ERRORS, _SWING_WIDTH = 1.0, 3.0, 1.0
"""
Up to the first ratio of scatters, and so many standard errors more, a signal is steady, and from the width beyond not.
"""
_UNKNOWN: Final = 2.0
"""Ranks and the level are off by as much as the mean of what is known, each."""
_HANG: Final = (1.2, 1.4)
"""The same for what neighbours let expect: a correlation of 0.09, of 0.17."""
STEADY_STEPS: Final = 4_000.0
"""What does not wander need not be followed, and a small change is not taken for usual before it is found."""
_LEAST_SCATTER: Final = 0.02


class Steadiness:
    """How steady *count* signals are, from blocks of their scores about what is usual: 16 bytes a signal."""

    def __init__(self, count: int) -> None:
        self.swing = np.zeros(count, np.float32)
        """The mean square of the sums of blocks, over their number."""
        self.follows = np.zeros(count, np.float32)
        """The mean product of neighbours."""
        self.share = np.zeros(count, np.float32)
        """How steady each signal is, 0 to 1."""
        self.hangs = np.ones(count, np.float32)
        """How much higher its walks go than those of independent values, as its neighbours let expect."""

    def prepare(self, scatter: Singles, blocks: Singles, can_be: Bools) -> None:
        """Derive what is asked each block, from the *scatter* of scores and how many *blocks* were seen."""
        square = np.maximum(scatter, _LEAST_SCATTER).astype(np.float64)
        correlation = np.minimum(np.maximum(self.follows / square, 0.0), 0.9)
        hangs = (1.0 + correlation) / (1.0 - correlation)
        self.hangs = hangs.astype(np.float32)
        until = _SWING + _SWING_ERRORS * np.sqrt(2.0 / np.minimum(np.maximum(blocks, 1.0), _MOST_BLOCKS))
        share = _below(self.swing / square, until, until + _SWING_WIDTH) * _below(hangs, *_HANG)
        self.share = np.where(can_be & (blocks >= _LEAST_BLOCKS), share, 0.0).astype(np.float32)

    def learn(self, residual: Floats, taught: Bools, blocks: Singles, is_up: Bools) -> None:
        """Take in a block ``(signals, steps)`` of scores about what is usual, 0 where it is not *taught*."""
        count = taught.sum(1)
        counted = count >= residual.shape[1] // 2
        pace = 1.0 / np.minimum(blocks + 1.0, _MOST_BLOCKS)
        pace = np.where(counted, pace * np.where(is_up & (blocks >= _LEAST_BLOCKS), _UP_PACE, 1.0), 0.0)
        # What is usual is itself known from few values at first, by which all of a block is off.
        expected = np.maximum(count, 1) * (1.0 + _UNKNOWN / (blocks + 2.0))
        self.swing += (pace * (residual.sum(1) ** 2 / expected - self.swing)).astype(np.float32)
        pairs = (taught[:, 1:] & taught[:, :-1]).sum(1)
        products = (residual[:, 1:] * residual[:, :-1]).sum(1) / np.maximum(pairs, 1)
        self.follows += (pace * (products - self.follows)).astype(np.float32)

    def forget(self, which: Bools) -> None:
        """Begin anew for the signals that *which* names."""
        self.swing[which] = self.follows[which] = 0.0


def pace_of(steps: float, steady: Singles) -> Floats:
    """Return the pace of what is learnt over so many *steps*, and over 4,000 of signals that are *steady*, 0 to 1."""
    return 1.0 / steps + steady.astype(np.float64) * (1.0 / STEADY_STEPS - 1.0 / steps)


def _below(ratio: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Return 1 where *ratio* is below *low*, 0 where it is above *high*."""
    return np.asarray(np.minimum(np.maximum((high - ratio) / (high - low), 0.0), 1.0))
