"""What is unusual teaches nothing of what is usual, until it has lasted so long, or comes so often, that it is that."""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.surprise.normal import Bools, Floats

MOST_STEPS: Final = 500.0
_OFTEN: Final = 0.25
_OFTEN_PACE: Final = 1.0 / 64
"""What is unusual at more than so many of the steps of the last two thousand is learnt from all the same."""


class Unusual:
    """At which of up to 32 steps *count* signals were unusual, and how much so of late: 12 bytes a signal."""

    def __init__(self, count: int) -> None:
        self.steps = np.zeros(count, np.float32)
        """For how many steps each signal has been unusual of late."""
        self.often = np.zeros(count, np.float32)
        """At which share of the steps, in the long run."""
        self.high = np.zeros(count, np.uint32)
        """A bit for each step of the block."""

    def note(self, high: Bools, at: int) -> None:
        """Take in which signals are unusual at a step of the block."""
        self.high |= high.astype(np.uint32) << np.uint32(at)

    def end(self, block: int, most_steps: Floats | float = MOST_STEPS) -> tuple[Bools, Bools]:
        """
        Return which steps of a *block* teach, ``(signals, steps)``, and which signals have a new usual.

        That is what has been unusual for *most_steps* more than it was not.
        """
        is_high = (self.high[:, None] >> np.arange(block, dtype=np.uint32)) & np.uint32(1) > 0
        is_new_usual = self.steps >= most_steps
        highs = is_high.sum(1)
        self.steps = np.maximum(self.steps + 2.0 * highs - block, 0.0).astype(np.float32)
        self.steps[is_new_usual & (highs == 0)] = 0.0
        self.often += _OFTEN_PACE * (highs / block - self.often)
        self.high[:] = 0
        return ~is_high | (is_new_usual | (self.often > _OFTEN))[:, None], is_new_usual
