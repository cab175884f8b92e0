"""
What is usual by now and at this time of the day, in bounded scores.

Both are learnt on scores that are clipped, never on raw values: a single value moves them by its rank at most. The slow
level follows drifts over some hundred steps. A time of the day is used once two periods were seen and only where it
tells: where scores are closer to it, and a level of its own beside it, than to the slow level alone. That other level
hardly moves within the first two periods, so that it leaves the time of the day what is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Bools, Floats

DAY_SECONDS: Final = 86_400.0
BINS: Final = 48
_LEVEL_STEPS: Final = 500.0
_FIRST_STEPS: Final = 20.0
_ERROR_STEPS: Final = 500.0
_TELLS: Final = 0.85
"""The time of the day is used where it leaves less than this share of the mean square."""
_LEAST_VISITS: Final = 20.0
_FIRST_VISITS: Final = 4.0
_PERIODS: Final = 3.0
SETTLED_PERIODS: Final = 4.0
"""After so many the time of the day is known as well as it will be."""
_MOST_VISITS: Final = 255.0


class Baseline:
    """
    Slow level and time of day of *count* signals that are sampled each *step_seconds*.

    Costs 48 numbers of 3 bytes and six of 4 a signal.
    """

    def __init__(self, count: int, step_seconds: float, period_seconds: float = DAY_SECONDS) -> None:
        self.period_seconds = period_seconds
        self.level = np.zeros(count, np.float32)
        self.beside = np.zeros(count, np.float32)
        """The slow level beside the time of the day."""
        self.steps = np.zeros(count, np.float32)
        self.of_day = np.zeros((count, BINS), np.float16)
        self.visits = np.zeros((count, BINS), np.uint8)
        self.error = np.ones((2, count), np.float32)
        """The mean square of scores about the level alone, and about the time of the day and the level beside it."""
        self.is_used = np.zeros(count, np.float32)
        self._most_visits = min(max(_PERIODS * period_seconds / BINS / step_seconds, _LEAST_VISITS), _MOST_VISITS)
        # Over a whole period: within one the slow level alone is good at some hours.
        self._error_steps = max(_ERROR_STEPS, period_seconds / step_seconds)
        self._rows = np.arange(count)
        self.prepare()

    def prepare(self) -> None:
        """Derive what is asked each update, after a block or a change of the arrays."""
        self._are_used = bool(self.is_used.any())

    def places(self, time_seconds: npt.ArrayLike) -> Floats:
        """Return how many parts of the period have passed at each time, 0 to 48."""
        return np.asarray(time_seconds, float) % self.period_seconds * (BINS / self.period_seconds)

    def usual(self, places: Floats) -> Floats:
        """Return the score that is usual at these *places* of the period, for each signal."""
        if not self._are_used:
            return self.level.astype(np.float64)
        return np.where(self.is_used > 0, self.beside + self._at(self._rows, places), self.level)

    def usual_each(self, places: Floats) -> Floats:
        """Return the scores that are usual at *places* that are ``(signals, steps)``."""
        level = self.level[:, None]
        if not self._are_used:
            return np.broadcast_to(level, places.shape)
        of_day = self._at(self._rows[:, None], places)
        return np.where(self.is_used[:, None] > 0, self.beside[:, None] + of_day, level)

    def _at(self, rows: npt.NDArray[np.intp], places: Floats) -> Floats:
        """Return what is known of the time of the day, between the middles of two parts."""
        before = np.floor(places - 0.5)
        share = places - 0.5 - before
        part = before.astype(np.intp)
        return (1.0 - share) * self.of_day[rows, part % BINS] + share * self.of_day[rows, (part + 1) % BINS]

    def learn(self, scores: Floats, places: Floats, taught: Bools, there: Bools, age_seconds: Floats) -> None:
        """
        Take in a block of ``(signals, steps)``: raw *scores* at *places*, the usual ones where *taught* is set.

        What is *there* and not usual is still the time of the day, as long as that is not known.
        """
        self.steps += taught.sum(1)
        pace = np.maximum(1.0 / _LEVEL_STEPS, 1.0 / (self.steps + _FIRST_STEPS))
        about = np.where(taught, scores - self.level[:, None], 0.0)
        self.level += np.minimum(taught.sum(1) * pace, 1.0) * about.sum(1) / np.maximum(taught.sum(1), 1)
        counted = np.where(self.is_used[:, None] > 0, taught, there)
        count = counted.sum(1)
        total = np.maximum(count, 1)
        parts = np.minimum(places.astype(np.intp), BINS - 1)
        about = np.where(counted, scores - self.level[:, None], 0.0)
        beside = np.where(counted, scores - self.beside[:, None], 0.0)
        left = np.where(counted, beside - self._at(self._rows[:, None], places), 0.0)
        is_old = age_seconds > 2 * self.period_seconds
        settled = (count > 0) & (age_seconds > self.period_seconds)
        share = np.where(settled, np.minimum(count / self._error_steps, 1.0), 0.0)
        squares = np.stack([(about**2).sum(1), (left**2).sum(1)]) / total
        self.error += share * (squares - self.error)
        # A block holds several values of a part: they count one by one. What ranks meant in the first periods they do
        # not mean later: it is soon outlived.
        young = np.where(settled, self._most_visits / _PERIODS, _FIRST_VISITS)
        most = np.where(age_seconds > SETTLED_PERIODS * self.period_seconds, self._most_visits, young)
        for first, last in _runs(parts):
            here, run = parts[:, first], slice(first, last)
            visits = self.visits[self._rows, here].astype(np.int64)
            known = self.of_day[self._rows, here].astype(np.float64)
            self.of_day[self._rows, here] = _in_turn(known, visits, beside[:, run], counted[:, run], most)
            self.visits[self._rows, here] = np.minimum(visits + counted[:, run].sum(1), most)
        self.beside += np.minimum(count / self._error_steps, 1.0) * left.sum(1) / total
        # What was of use is given up only when it is of none, so that the walks need not learn anew all the time.
        least = np.where(self.is_used > 0, 1.0, _TELLS) * self.error[0]
        self.is_used = (is_old & (self.error[1] < least)).astype(np.float32)
        self.prepare()


def _runs(parts: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield where steps begin and end in which no signal gets into another part; *parts* are ``(signals, steps)``."""
    changes = (np.flatnonzero((parts[:, 1:] != parts[:, :-1]).any(0)) + 1).tolist()
    yield from zip([0, *changes], [*changes, parts.shape[1]], strict=True)


def _in_turn(known: Floats, visits: npt.NDArray[np.int64], values: Floats, there: Bools, most: Floats) -> Floats:
    """
    Return the mean *known* of so many *visits* after further *values*, ``(signals, steps)``, one by one.

    Each moves it by one over the visits until then, of which at most so many count.
    """
    before = visits[:, None] + np.cumsum(there, axis=1) - there
    weight = there / (np.minimum(before, most[:, None]) + 1.0)
    # What is left of each at the end, and last of what was known.
    left = np.cumprod(np.concatenate([np.ones((len(known), 1)), 1.0 - weight[:, ::-1]], axis=1), axis=1)
    return np.asarray(known * left[:, -1] + (weight * values * left[:, -2::-1]).sum(1))
