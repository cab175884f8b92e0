"""One incident, one message: what is rare is news once, until something much rarer comes or the signal has rested."""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Floats

STEPS: Final = 100
_TIMES: Final = 1.0
_FROM: Final = 1.2
_TYPICAL: Final = 1_000.0
_LEAST_AGE: Final = 100.0


def rarity(steps_between: Floats, age: Floats) -> Floats:
    """
    Return how rare the rarest statistic of each signal is, in powers of ten, beside how old the signal is.

    What comes once in 100,000 steps is worth a look after 1,000, and usual after a million.
    """
    steps = np.maximum(steps_between.max(0), 1e-9)
    rare: Floats = np.log10(steps) - np.log10(np.maximum(age, _LEAST_AGE) / _TYPICAL)
    return np.where(steps_between.max(0) > 1.0, np.maximum(rare, 0.0), 0.0)


class News:
    """
    Lets through what is news of *count* signals: 16 bytes each.

    After a rarity of 1.2 or more the signal is silent for 100 steps, but for what is ten times rarer still.
    """

    def __init__(self, count: int) -> None:
        self._since = np.full(count, -np.inf)
        self._rarity = np.zeros(count)
        self._step = 0

    def filter(self, rare: Floats) -> Floats:
        """Return the rarity of what is news now, 0 for the rest."""
        self._step += 1
        is_open = self._step - self._since <= STEPS
        is_muted = is_open & (rare >= _FROM) & (rare <= self._rarity + _TIMES)
        opens = ~is_muted & (rare >= _FROM)
        self._since[opens] = self._step
        self._rarity[opens] = rare[opens]
        return np.where(is_muted, 0.0, rare)
