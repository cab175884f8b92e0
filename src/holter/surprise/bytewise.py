"""Bounded scores in one byte each: in steps of a fortieth, within 3.175 of 0."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Floats

STEPS: Final = 40.0
"""Steps to one deviation."""
MOST: Final = 127
Bytes = npt.NDArray[np.int8]


class Block:
    """So many *steps* of scores of *count* signals, set column by column: a byte each."""

    def __init__(self, count: int, steps: int) -> None:
        self.held: Bytes = np.zeros((count, steps), np.int8)

    def __setitem__(self, where: Any, scores: Floats) -> None:
        self.held[where] = np.minimum(np.maximum(np.rint(scores * STEPS), -MOST), MOST)

    def scores(self) -> Floats:
        """Return all of them, to half a step."""
        return self.held / STEPS
