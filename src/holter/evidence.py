"""
Evidence that shares have left their bounds: e-processes, that may be looked at as often as one likes.

Of every row some features are there or not: "age is at most 42", "country is CH", "income is missing". The null says
that each feature's share lies within its bounds, [lower, upper]. Against one bound b, an alternative q beyond it
multiplies a stake by q/b for a row that has the feature and by (1 - q)/(1 - b) for one that has not: under any share
within the bound the stake is expected not to grow. Stakes on eight alternatives for each bound of each feature are
averaged. What is averaged is an e-process, so that (Ville 1939) it ever reaches 1/alpha with probability alpha at
most; and since rows count only by their sums, those of parts add up.

Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023). The detector
adds up the stakes of all that could have begun betting at any earlier look: Shin, Ramdas and Rinaldo, "E-detectors"
(2023); it comes to A on average once in A looks at most, where nothing has changed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.distribution import Floats

# How far beyond its bound an alternative lies, in standard deviations of one row: from what takes 50,000 rows to see to
# what a handful shows.
_STEPS: Final = 0.01 * 1.85 ** np.arange(8)
_FARTHEST: Final = 0.98


class Evidence:
    """
    What rows tell against bounds on shares: one number that a chance within the bounds seldom makes large.

    *lower* and *upper* are the bounds of each feature, *weights* the features' parts of the stake. A bound that no
    share can pass is not bet against, and its stake stays what it is. Costs some 10 us for 32 features; immutable.

    >>> fair = Evidence(np.array([0.4]), np.array([0.6]), np.array([1.0]))
    >>> fair.log(100, np.array([55])) < 0 < fair.log(100, np.array([80]))
    True
    """

    __slots__ = ("_hit", "_miss", "_weights")

    def __init__(self, lower: Floats, upper: Floats, weights: Floats) -> None:
        # The lower bound of a share is the upper one of the rest.
        bounds = np.stack((upper, 1 - lower))[..., np.newaxis]
        is_passable = bounds < 1
        safe = np.where(is_passable, np.maximum(bounds, 1e-12), 0.5)
        room = 1 - safe
        beyond = np.minimum(_STEPS * np.sqrt(safe * room), _FARTHEST * room)
        self._hit: Floats = np.where(is_passable, np.log1p(beyond / safe), 0.0)
        self._miss: Floats = np.where(is_passable, np.log1p(-beyond / room), 0.0)
        shares = weights / (weights.sum() * 2 * len(_STEPS))
        self._weights: Floats = np.log(np.broadcast_to(shares[:, np.newaxis], self._hit.shape))

    def ratios(self, rows: float | Floats, counts: Floats) -> Floats:
        """Return the logarithm of what each stake becomes by *rows*, of which *counts* have the features."""
        found: Floats = self._hit * _sides(rows, counts) + self._miss * _sides(rows, rows - counts)
        return found

    def log(self, rows: float | Floats, counts: Floats) -> float:
        """Return the logarithm of the evidence in *rows*, of which *counts* have the features."""
        return _log_sum(self.ratios(rows, counts) + self._weights)

    def by_feature(self, stakes: Floats) -> Floats:
        """Return the logarithm of what the stakes on each feature have become."""
        both = np.moveaxis(stakes + self._weights, 1, 0)
        top = both.max(axis=(1, 2))
        found: Floats = top + np.log(np.exp(both - top[:, np.newaxis, np.newaxis]).sum(axis=(1, 2)))
        return found

    def total(self, stakes: Floats) -> float:
        """Return the logarithm of what all *stakes* have become."""
        return _log_sum(stakes + self._weights)

    def nothing(self) -> Floats:
        """Return the stakes of a detector that has seen nothing."""
        return np.full(self._hit.shape, -np.inf)

    def detected(self, stakes: Floats, rows: float | Floats, counts: Floats) -> Floats:
        """Return the stakes of a detector after *rows* more: someone begins, then all bet."""
        found: Floats = np.logaddexp(0.0, stakes) + self.ratios(rows, counts)
        return found


def _sides(rows: float | Floats, counts: Floats) -> Floats:
    """Return how many rows count for the upper bound, and how many for the lower one."""
    return np.stack((counts, rows - counts))[..., np.newaxis]


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum())) if np.isfinite(top) else top
