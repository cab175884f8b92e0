"""
How far scores lie about what is usual: in all, and by the hour of the day where that is used.

Scores are ranks among the values of all hours. Where many values crowd, as at the height of a daily swing, a little
noise moves ranks by much; on the way there by little: the same noise may scatter five times as much at one hour as at
another. So each hour has a mean square of its own, once the time of the day is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.baseline import BINS, SETTLED_PERIODS
from holter.surprise.bytewise import MOST, Bytes
from holter.surprise.lesson import Lesson
from holter.surprise.normal import Bools, Floats
from holter.surprise.steadiness import pace_of
from holter.surprise.stride import sides

HOURS: Final = 24
_SPAN: Final = BINS / HOURS
_EACH_DOUBLING: Final = 10.0
"""An hour's mean square is kept as its power of two, in tenths."""
_UNKNOWN: Final = -128
_STEPS: Final = 1_000.0
_DAYS: Final = 3.0
"""Older days count no more than these do, or than so many values where those are more."""
_VALUES: Final = 100.0
_FEW_VALUES, _FEWEST_VALUES = 16.0, 4.0
"""So many of them count in the first two days of use, and right after."""
_LEAST: Final = 0.02
_LEAST_OF_HOUR: Final = 5e-4
_WITHIN: Final = 9.0
"""A single square counts for so many times the mean at most."""


class Scatter:
    """
    Mean squares of the scores of *count* signals about the usual, a day being so many steps.

    12 bytes a signal, and 24 more where the hours are learnt: *is_daily*.
    """

    def __init__(self, count: int, day_steps: float, *, is_daily: bool) -> None:
        self.overall = np.ones(count, np.float32)
        self.hours: Bytes = np.full((count, HOURS if is_daily else 0), _UNKNOWN, np.int8)
        self.square = np.tile(np.array([[1.0], [1.35]], np.float32), (1, count))
        """Mean and variance of the squares of scores, bounded, over their scatter."""
        self._hour_steps = day_steps / HOURS
        self._random = np.random.default_rng(0)
        self.prepare(np.zeros(count, np.bool_))

    def prepare(self, is_used: Bools) -> None:
        """Take which signals' time of the day is in use."""
        self._is_used, self._are_used = is_used, bool(is_used.any())
        self._per_overall = (1.0 / np.sqrt(np.maximum(self.overall, _LEAST))).astype(np.float32)
        self.per_square = (1.0 / np.sqrt(np.maximum(self.square[1], 0.05))).astype(np.float32)

    def forget_hours(self, which: Bools) -> None:
        """Let the hours of the signals that *which* names be unknown."""
        self.hours[which] = _UNKNOWN

    def squares(self, places: Floats) -> Floats:
        """
        Return the mean square of each signal at *places*, those of `Baseline`: of a step, or ``(signals, steps)``.

        That of the hour where the time of the day is used; from the middle of one to that of the next it goes over.
        """
        rows, is_used, overall = np.arange(len(self.overall)), self._is_used, np.maximum(self.overall, _LEAST)
        if places.ndim > 1:
            rows, is_used, overall = rows[:, None], is_used[:, None], overall[:, None]
        if not self._are_used:
            return np.asarray(overall, float)
        at = places / _SPAN - 0.5
        before = np.floor(at)
        hour = before.astype(np.intp)
        unknown = _EACH_DOUBLING * np.log2(overall)
        early, late = (self.hours[rows, (hour + one) % HOURS] for one in (0, 1))
        early, late = (np.where(one == _UNKNOWN, unknown, one) for one in (early, late))
        return np.where(is_used, np.exp2((early + (at - before) * (late - early)) / _EACH_DOUBLING), overall)

    def per_scatter(self, places: Floats) -> npt.NDArray[np.float32]:
        """Return one over the root of the mean square of each signal at the *places* of a step."""
        if not self._are_used:
            return self._per_overall
        return (1.0 / np.sqrt(self.squares(places))).astype(np.float32)

    def learn(
        self, off: Floats, lesson: Lesson, in_use: Floats, way: npt.NDArray[np.int8], age: npt.NDArray[np.float32]
    ) -> Floats:
        """
        Take in by how much a block was *off* the usual; return that over its scatter, 0 where it is not taught.

        The time of the day has been *in_use* for so many days. Only what is off the *way* that is trouble counts for
        the mean of bounded squares; *age* is how many values there were.
        """
        count = lesson.taught.sum(1)
        total = np.maximum(count, 1)
        pace = np.maximum(pace_of(_STEPS, lesson.steady), 1.0 / (age + 30.0))
        gain = np.where((count > 0) & ~lesson.held, np.minimum(count * pace, 1.0), 0.0)
        low, high = sides(way)[:, :, None]
        residual = np.where(lesson.taught, off, 0.0)
        relative = residual / lesson.reach
        bounded = np.minimum(np.maximum(relative, low), high) ** 2
        variance = np.where(lesson.taught, (bounded - self.square[0][:, None]) ** 2, 0.0).sum(1) / total
        self.square[0] += gain * (bounded.sum(1) / total - self.square[0])
        self.square[1] += gain * (variance - self.square[1])
        squares = residual**2
        mean = np.minimum(squares, _WITHIN * self.overall[:, None] + 0.01).sum(1) / total
        self.overall += gain * (mean - self.overall)
        if self._are_used:
            self._learn_hours(off**2, lesson, in_use)
        return relative

    def _learn_hours(self, squares: Floats, lesson: Lesson, in_use: Floats) -> None:
        # What is unusual too, once the time of the day is known: what comes each day at this hour is usual some day.
        is_settled = in_use >= SETTLED_PERIODS
        taught = np.where(is_settled[:, None], lesson.there, lesson.taught & ~lesson.held[:, None])
        squares = np.where(taught, squares, 0.0)
        rows = np.arange(len(squares))
        hours = (lesson.places / _SPAN).astype(np.intp) % HOURS
        # In its first days of use the time of the day is known ever better: what was before is soon outlived, and once
        # that is settled, at once.
        since = np.minimum((in_use - SETTLED_PERIODS) * self._hour_steps, max(_DAYS * self._hour_steps, _VALUES))
        older = np.where(is_settled, np.maximum(since, _FEWEST_VALUES), _FEW_VALUES)
        for first, last in _runs(hours):
            hour = hours[:, first]
            known = self.hours[rows, hour]
            is_new = known == _UNKNOWN
            mean = np.where(is_new, self.overall, np.exp2(known / _EACH_DOUBLING))
            count = taught[:, first:last].sum(1)
            seen = np.minimum(squares[:, first:last], _WITHIN * mean[:, None]).sum(1) / np.maximum(count, 1)
            mean += count / (count + np.where(is_new, 1.0, older)) * (seen - mean)
            power = _EACH_DOUBLING * np.log2(np.maximum(mean, _LEAST_OF_HOUR)) + self._random.random(len(rows))
            power = np.minimum(np.maximum(np.floor(power), -MOST), MOST)
            self.hours[rows, hour] = np.where(self._is_used & (count > 0), power, known)


def _runs(parts: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield where steps begin and end in which no signal gets into another part; *parts* are ``(signals, steps)``."""
    changes = (np.flatnonzero((parts[:, 1:] != parts[:, :-1]).any(0)) + 1).tolist()
    yield from zip([0, *changes], [*changes, parts.shape[1]], strict=True)
