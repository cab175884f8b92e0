"""What is usual in each part of a period that comes again: of the day, of the week."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise import bytewise
from holter.surprise.normal import Bools, Floats

PERIODS: Final = 3.0
"""Values of older periods than so many count no more than these do."""
_LEAST_VISITS: Final = 20.0
_MOST_VISITS: Final = 255.0
_FINE_STEPS: Final = 10_000.0
_EACH_DOUBLING: Final = 15 / 8
"""Visits are kept as powers of two, in half a byte: 15 for 255."""


class Cycle:
    """
    The mean of what *count* signals say in each of so many *parts* of a period; at most so many visits of it count.

    Costs one and a half bytes a part and signal, a mean in fortieths and the power of two of its visits; a byte more
    where that *is_fine*, in ten thousandths. What lies between two steps becomes one or the other by chance, so that in
    the mean nothing gets lost however little is added (Morris, 1978, for counts). Places in time are counted on
    whatever scale has *span* of it in one part; what lies beyond the end of the period is in the next one. From the
    middle of one part to that of the next what is known goes over from one to the other. *parts* are even in number.
    """

    def __init__(self, count: int, parts: int, *, span: float, part_steps: float, is_fine: bool = False) -> None:
        self.parts, self._span = parts, span
        self._steps, kind = (_FINE_STEPS, np.int16) if is_fine else (bytewise.STEPS, np.int8)
        self.means: npt.NDArray[np.int8 | np.int16] = np.zeros((count, parts), kind)
        """In such steps."""
        self.visits = np.zeros((count, parts // 2), np.uint8)
        """Of two parts in a byte, that of the even one in the lower half."""
        self._random = np.random.default_rng(0)
        self.most_visits = min(max(PERIODS * part_steps, _LEAST_VISITS), _MOST_VISITS)

    def at(self, rows: npt.NDArray[np.intp], places: Floats) -> Floats:
        """Return what is known of *rows* at *places*, which broadcast with them."""
        places = places / self._span - 0.5
        before = np.floor(places)
        share = places - before
        part = before.astype(np.intp)
        known: Floats = (1.0 - share) * self.means[rows, part % self.parts]
        known += share * self.means[rows, (part + 1) % self.parts]
        return known / self._steps

    def learn(self, values: Floats, places: Floats, counted: Bools, most_visits: Floats) -> None:
        """Take in a block of ``(signals, steps)``, those that are *counted*; older ones weigh *most_visits* at most."""
        parts = (places / self._span).astype(np.intp) % self.parts
        is_in = parts[..., None] == np.arange(self.parts)
        # Of each byte of visits both halves.
        pairs = np.flatnonzero(is_in.reshape(-1, self.parts // 2, 2).any((0, 2)))
        near = (2 * pairs[:, None] + np.array([0, 1])).ravel()
        weights = is_in[..., near].astype(float)
        said = np.stack([counted, np.where(counted, values, 0.0)])
        if len(parts) == 1:
            count, total = said @ weights[0]
        else:
            count, total = np.matmul(said[:, :, None], weights)[:, :, 0]
        halves = np.stack([self.visits[:, pairs] & 15, self.visits[:, pairs] >> 4], axis=2)
        powers = halves.reshape(len(values), len(near))
        visits = np.minimum(np.exp2(powers / _EACH_DOUBLING) - 1.0, most_visits[:, None])
        is_seen = count > 0.0
        known = self.means[:, near]
        mean = known + (self._steps * total - count * known) / np.where(is_seen, visits + count, 1.0)
        most = bytewise.MOST / bytewise.STEPS * self._steps
        self.means[:, near] = np.where(is_seen, np.minimum(np.maximum(self._whole(mean), -most), most), known)
        power = self._whole(_EACH_DOUBLING * np.log2(np.minimum(visits + count, most_visits[:, None]) + 1.0))
        halves = np.where(is_seen, np.minimum(power, 15), powers).astype(np.uint8).reshape(halves.shape)
        self.visits[:, pairs] = halves[:, :, 0] | halves[:, :, 1] << 4

    def fade(self, which: Bools, visits: float) -> None:
        """Let what is known of the signals that *which* names count for so many visits at most."""
        most = round(_EACH_DOUBLING * math.log2(visits + 1.0))
        pairs = self.visits[which]
        self.visits[which] = np.minimum(pairs & 15, most) | np.minimum(pairs >> 4, most) << 4

    def _whole(self, numbers: Floats) -> Floats:
        return np.floor(numbers + self._random.random(numbers.shape))
