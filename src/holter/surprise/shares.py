"""What is judged of a signal, and how the rate of its false alarms is shared by that."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Floats

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


BY_WAY: Final = shares([0, 1, -1])
"""The shares by which way is trouble: both, up, down, so that a way of -1 is the last."""
