"""What has stood still, and moves by next to nothing, has not moved: no spread tells what would be much."""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats, Singles

_UNMOVED: Final = 0.01
"""By less than a hundredth of itself a signal that stands still has not moved."""


class Standstill:
    """Which signals have the same value two times in three, and how little is nothing to them."""

    def prepare(self, median: Singles, near: Floats, origin: Floats, judged: Bools) -> None:
        """
        Derive what is asked each update, of signals that are *judged*.

        Of each the *median*, how far above and below it the score `ranks.NEAR` lies, and the *origin* that values are
        counted from.
        """
        self._rows = np.flatnonzero((near == 0.0).all(0) & judged)
        if len(self._rows):
            self._median = median[self._rows]
            self._least = (_UNMOVED * np.abs(origin[self._rows] + self._median)).astype(np.float32)

    def keep(self, values: Singles) -> None:
        """Put those of the *values* back to their median that have not moved from it."""
        if len(self._rows):
            here = values[self._rows]
            values[self._rows] = np.where(np.abs(here - self._median) <= self._least, self._median, here)
