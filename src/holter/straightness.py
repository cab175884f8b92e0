"""The straight line through the floors of a window, and whether a level climbs along it."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCKS: Final = 24
"""How many blocks a window has."""
STRAIGHT: Final = 24.0
"""How many times its scatter a climb must rise: a random walk does so in one window of 10,000."""
STILL: Final = 0.8
"""What the second half must rise of what the first one did: a cache that fills slows down."""
_OUTLIER: Final = 4.0
_MOST_STEPS: Final = 2
_MAD_TO_SIGMA: Final = 1.4826
_AT: Final = np.arange(BLOCKS) - (BLOCKS - 1) / 2


class Line(NamedTuple):
    """The straight line through the floors of a window without its steps; ``rise`` from its first to its last."""

    rise: float
    scatter: float
    halves: float
    """The slope of the second half over that of the first."""
    steps: float
    """What was left out of it."""

    @property
    def is_straight(self) -> bool:
        """Whether it rises so much more than it scatters that chance does not do it, and has not slowed down."""
        return self.rise > 0 and self.rise >= STRAIGHT * self.scatter and self.halves >= STILL


def line_through(floors: NDArray[np.float64]) -> Line:
    """
    Return the line through the *floors* of one window.

    At most two increments that stand out by four times the usual scatter of them are steps, what was loaded at once;
    the usual increment stands in for each. A fall is one only where steps up pay for it, as when a model is loaded
    before the old one goes: where levels climb slowly and fall at once, nothing would be left but the climb.
    """
    increments = np.diff(floors)
    usual = float(np.median(increments))
    off = increments - usual
    stands_out = _OUTLIER * _MAD_TO_SIGMA * float(np.median(np.abs(off)))
    largest = np.argsort(np.abs(off))[-_MOST_STEPS:]
    steps = sorted(((float(off[at]), int(at)) for at in largest if abs(off[at]) > stands_out), reverse=True)
    left_out = 0.0
    for step, at in steps:
        if left_out + step >= 0:
            left_out += step
            increments[at] = usual
    course = np.concatenate(((0.0,), np.cumsum(increments)))
    each = float(_AT @ course) / float(_AT @ _AT)
    rest = course - course.mean() - each * _AT
    scatter = math.sqrt(float(rest @ rest) / (BLOCKS - 2))
    first, second = slope(course[: BLOCKS // 2]), slope(course[BLOCKS // 2 :])
    return Line(each * (BLOCKS - 1), scatter, second / first if first > 0 else -math.inf, left_out)


def slope(values: NDArray[np.float64]) -> float:
    """Return the slope of *values* a step, by least squares."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return float(at @ values) / float(at @ at)
