"""Bounded scores in one byte each: in steps of a fortieth, within 3.175 of 0."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Floats

STEPS: Final = 40.0
"""Steps to one deviation."""
MOST: Final = 127
Bytes = npt.NDArray[np.int8]


def in_bytes(scores: Floats) -> Bytes:
    """Return *scores* to half a step."""
    return np.minimum(np.maximum(np.rint(scores * STEPS), -MOST), MOST).astype(np.int8)
