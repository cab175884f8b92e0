"""
What is judged of a signal, and how the rate of its false alarms is shared by that.

Where values know nothing of each other (`steadiness`), a small shift that lasts is a change, and the slow walk that
finds it first has more of the rate than anything else. Where they hang together, levels are off by a little all the
time: more goes to how much values scatter, and to what is far off at once.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Bools, Floats, Singles

STATISTICS: Final = ("rise", "rise", "fall", "fall", "scatter", "above", "below")
"""What each statistic is about: two walks up, two down, one of the scatter, and values above and below all others."""
_WEIGHTS: Final = np.array([
    [0.08, 0.17, 0.025, 0.025, 0.3, 0.2, 0.2],
    [0.35, 0.1, 0.025, 0.025, 0.2, 0.15, 0.15],
])  # fmt: skip
"""Of signals that are not steady, and of those that are; most of what matters is more than before."""
_RISES: Final = np.array([statistic == "rise" for statistic in STATISTICS])
_FALLS: Final = np.array([statistic == "fall" for statistic in STATISTICS])
_HIGH: Final = _RISES | (np.array(STATISTICS) == "above")
_LOW: Final = _FALLS | (np.array(STATISTICS) == "below")


def shares(direction: npt.ArrayLike = 0, *, is_steady: bool = False) -> Floats:
    """
    Return how the rate of one signal is shared by its statistics, ``(statistics, signals)``.

    *direction*: 1 where only more than usual counts, -1 where only less does, 0 for both.
    """
    way = np.atleast_1d(np.asarray(direction))
    weights = np.repeat(_WEIGHTS[int(is_steady)][:, None], len(way), axis=1)
    # Where less than usual is all that counts it gets what more gets else.
    weights[_FALLS] = np.where(way < 0, weights[_RISES], weights[_FALLS])
    weights[_HIGH] *= way >= 0
    weights[_LOW] *= way <= 0
    return np.asarray(weights / weights.sum(0))


def _all_shares(*, is_steady: bool) -> Floats:
    """
    Return the shares by which way is trouble, so that a way of -1 is the last, and by the ends.

    Beyond the end at which half of the values lie there is nothing: its share goes to the others.
    """
    counts = np.ones((len(STATISTICS), 1, 4))
    counts[-2, :, 1::2] = counts[-1, :, 2:] = 0.0
    left = shares([0, 1, -1], is_steady=is_steady)[:, :, None] * counts
    return np.asarray(left / left.sum(0))


_LEVELS: Final = 8
"""So many levels of steadiness are told apart, and none."""
_EACH_LEVEL: Final = np.uint8(12)
Cases: TypeAlias = npt.NDArray[np.uint8]


def _table() -> Floats:
    """Return the shares by how steady a signal is, by which way is trouble, and by the ends: ``(statistics, all)``."""
    other, steady = _all_shares(is_steady=False), _all_shares(is_steady=True)
    levels = np.linspace(0.0, 1.0, _LEVELS + 1)[:, None, None]
    return (other[:, None] + levels * (steady - other)[:, None]).reshape(len(STATISTICS), -1)


_TABLE: Final = _table()


def cases(way: npt.NDArray[np.int8], is_at_end: Bools, steady: Singles) -> Cases:
    """
    Return which case each signal is, for `spent`: by which *way* is trouble, by the ends, and by how steady it is.

    *is_at_end* says where half of the values are the largest, or the smallest: ``(2, signals)``; *steady* is 0 to 1,
    and counts in eighths.
    """
    level = (steady * _LEVELS + 0.5).astype(np.uint8)
    return np.asarray(level * _EACH_LEVEL + (way % 3 * 4 + is_at_end[0] + 2 * is_at_end[1]).astype(np.uint8))


def spent(case: Cases) -> Floats:
    """Return `shares` of each signal's *case*, without what is beyond an end: ``(statistics, signals)``."""
    shared: Floats = _TABLE.take(case, axis=1)
    return shared
