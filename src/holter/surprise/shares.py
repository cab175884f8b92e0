"""What is judged of a signal, and how the rate of its false alarms is shared by that."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Bools, Floats

STATISTICS: Final = ("rise", "rise", "fall", "fall", "scatter", "above", "below")
"""What each statistic is about: two walks up, two down, one of the scatter, and values above and below all others."""
# Most of what matters is more than before, and at once: nearly half of the rate goes to single values, most of the
# rest to walks upwards.
_WEIGHTS: Final = dict(zip(STATISTICS, (0.15, 0.15, 0.025, 0.025, 0.2, 0.225, 0.225), strict=True))


def shares(direction: npt.ArrayLike = 0) -> Floats:
    """
    Return how the rate of one signal is shared by its statistics, ``(statistics, signals)``.

    *direction*: 1 where only more than usual counts, -1 where only less does, 0 for both.
    """
    way = np.atleast_1d(np.asarray(direction, float))
    up, down = np.where(way >= 0, 1.0, 0.0), np.where(way <= 0, 1.0, 0.0)
    # Where less than usual is all that counts it gets what more gets else.
    fall = np.where(way < 0, _WEIGHTS["rise"], _WEIGHTS["fall"])
    counts = {
        "rise": _WEIGHTS["rise"] * up, "fall": fall * down, "scatter": np.full_like(way, _WEIGHTS["scatter"]),
        "above": _WEIGHTS["above"] * up, "below": _WEIGHTS["below"] * down,
    }  # fmt: skip
    weights = np.stack([counts[statistic] for statistic in STATISTICS])
    return np.asarray(weights / weights.sum(0))


def _all_shares() -> Floats:
    """
    Return the shares by which way is trouble, so that a way of -1 is the last, and by the ends.

    Beyond the end at which half of the values lie there is nothing: its share goes to the others.
    """
    counts = np.ones((len(STATISTICS), 1, 4))
    counts[-2, :, 1::2] = counts[-1, :, 2:] = 0.0
    left = shares([0, 1, -1])[:, :, None] * counts
    return np.asarray(left / left.sum(0))


_SPENT: Final = _all_shares()


def spent(way: npt.NDArray[np.int8], is_at_end: Bools) -> Floats:
    """
    Return `shares` by which *way* is trouble, one each, without what is beyond an end, ``(statistics, signals)``.

    *is_at_end* says where half of the values are the largest, or the smallest: ``(2, signals)``.
    """
    return np.asarray(_SPENT[:, way, is_at_end[0] + 2 * is_at_end[1]])
