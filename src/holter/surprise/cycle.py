"""What is usual in each part of a period that comes again: of the day, of the week."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.bytewise import MOST, STEPS, Bytes
from holter.surprise.normal import Bools, Floats

PERIODS: Final = 3.0
"""Values of older periods than so many count no more than these do."""
_LEAST_VISITS: Final = 20.0
_MOST_VISITS: Final = 255.0
_EACH_DOUBLING: Final = 15 / 8
"""Visits are kept as powers of two, in half a byte: 15 for 255."""


class Cycle:
    """
    The mean of what *count* signals say in each of so many *parts* of a period; at most so many visits of it count.

    Costs one and a half bytes a part and signal: a mean in fortieths, and the power of two of its visits. What lies
    between two steps becomes one or the other by chance, so that in the mean nothing gets lost however little is added
    (Morris, 1978, for counts). Places in time are counted on whatever scale has *span* of it in one part; what lies
    beyond the end of the period is in the next one. From the middle of one part to that of the next what is known goes
    over from one to the other. *parts* are even in number.
    """

    def __init__(self, count: int, parts: int, *, span: float, part_steps: float) -> None:
        self.parts, self._span = parts, span
        self.means: Bytes = np.zeros((count, parts), np.int8)
        """In steps of `bytewise`."""
        self.visits = np.zeros((count, parts // 2), np.uint8)
        """Of two parts in a byte, that of the even one in the lower half."""
        self._random = np.random.default_rng(0)
        self.most_visits = min(max(PERIODS * part_steps, _LEAST_VISITS), _MOST_VISITS)

    def at(self, rows: npt.NDArray[np.intp], places: Floats) -> Floats:
        """Return what is known of *rows* at *places*, which broadcast with them."""
        places = _once(places) / self._span - 0.5
        before = np.floor(places)
        share = places - before
        part = before.astype(np.intp)
        known: Floats = (1.0 - share) * self.means[rows, part % self.parts]
        known += share * self.means[rows, (part + 1) % self.parts]
        return known / STEPS

    def learn(self, values: Floats, places: Floats, counted: Bools, most_visits: Floats) -> None:
        """Take in a block of ``(signals, steps)``, those that are *counted*; older ones weigh *most_visits* at most."""
        rows = np.arange(len(self.means))
        parts = (_once(places) / self._span).astype(np.intp) % self.parts
        for first, last in _runs(parts):
            here, run = parts[:, first], slice(first, last)
            known, pairs, shift = self.means[rows, here], self.visits[rows, here // 2], (here % 2 * 4).astype(np.uint8)
            power = pairs >> shift & 15
            visits = np.exp2(power / _EACH_DOUBLING) - 1.0
            mean = _in_turn(known, visits, STEPS * values[:, run], counted[:, run], most_visits)
            self.means[rows, here] = np.minimum(np.maximum(self._whole(mean), -MOST), MOST)
            count = counted[:, run].sum(1)
            more = self._whole(_EACH_DOUBLING * np.log2(np.minimum(visits + count, most_visits) + 1.0))
            power = np.where(count > 0, np.minimum(more, 15), power).astype(np.uint8)
            self.visits[rows, here // 2] = pairs & ~(np.uint8(15) << shift) | power << shift

    def _whole(self, numbers: Floats) -> Floats:
        return np.floor(numbers + self._random.random(len(numbers)))


def _once(places: Floats) -> Floats:
    """Return *places* as one row where all signals share their time, which is one row shown again and again."""
    return places[:1] if places.ndim > 1 and not places.strides[0] else places


def _runs(parts: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield where steps begin and end in which no signal gets into another part; *parts* are ``(signals, steps)``."""
    changes = (np.flatnonzero((parts[:, 1:] != parts[:, :-1]).any(0)) + 1).tolist()
    yield from zip([0, *changes], [*changes, parts.shape[1]], strict=True)


def _in_turn(known: Bytes, visits: Floats, values: Floats, there: Bools, most: Floats) -> Floats:
    """
    Return the mean *known* of so many *visits* after further *values*, ``(signals, steps)``, one by one.

    Each moves it by one over the visits until then, of which at most so many count.
    """
    before = visits[:, None] + np.cumsum(there, axis=1) - there
    weight = there / (np.minimum(before, most[:, None]) + 1.0)
    # What is left of each at the end, and last of what was known.
    left = np.cumprod(np.concatenate([np.ones((len(known), 1)), 1.0 - weight[:, ::-1]], axis=1), axis=1)
    return np.asarray(known * left[:, -1] + (weight * values * left[:, -2::-1]).sum(1))
