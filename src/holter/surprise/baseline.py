"""
What is usual by now and at this time of the day, in bounded scores.

Both are learnt on scores that are clipped, never on raw values: a single value moves them by its rank at most. The slow
level follows drifts over some hundred steps. A time of the day is used once two periods were seen and only where it
tells: where scores are closer to it than to the slow level alone.
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
_PERIODS: Final = 3.0
_MOST_VISITS: Final = 255.0


class Baseline:
    """
    Slow level and time of day of *count* signals that are sampled each *step_seconds*.

    Costs 48 numbers of 3 bytes and five of 4 a signal.
    """

    def __init__(self, count: int, step_seconds: float, period_seconds: float = DAY_SECONDS) -> None:
        self.period_seconds = period_seconds
        self.level = np.zeros(count, np.float32)
        self.steps = np.zeros(count, np.float32)
        self.of_day = np.zeros((count, BINS), np.float16)
        self.visits = np.zeros((count, BINS), np.uint8)
        self.error = np.ones((2, count), np.float32)
        """The mean square of scores about the level alone, and about the level and the time of the day."""
        self.is_used = np.zeros(count, np.float32)
        self._most_visits = min(max(_PERIODS * period_seconds / BINS / step_seconds, _LEAST_VISITS), _MOST_VISITS)
        # Over a whole period: within one the slow level alone is good at some hours.
        self._error_steps = max(_ERROR_STEPS, period_seconds / step_seconds)
        self._rows = np.arange(count)

    def bins(self, time_seconds: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the part of the period that each time lies in."""
        part = np.asarray(time_seconds, float) % self.period_seconds / self.period_seconds
        return np.minimum(part * BINS, BINS - 1).astype(np.intp)

    def usual(self, bins: npt.NDArray[np.intp]) -> Floats:
        """Return the score that is usual in this part of the period, for each signal."""
        usual: Floats = self.level + self.is_used * self.of_day[self._rows, bins]
        return usual

    def usual_each(self, bins: npt.NDArray[np.intp]) -> Floats:
        """Return the scores that are usual in the parts *bins*, ``(signals, steps)``."""
        of_day = self.of_day[self._rows[:, None], bins]
        usual: Floats = self.level[:, None] + self.is_used[:, None] * of_day
        return usual

    def learn(self, scores: Floats, bins: npt.NDArray[np.intp], there: Bools, age_seconds: Floats) -> None:
        """Take in a block of ``(signals, steps)``: raw *scores* in the parts *bins*, where *there* is set."""
        count = there.sum(1)
        has = count > 0
        total = np.maximum(count, 1)
        about = np.where(there, scores - self.level[:, None], 0.0)
        self.steps += count
        gain = np.where(
            has, np.minimum(count * np.maximum(1.0 / _LEVEL_STEPS, 1.0 / (self.steps + _FIRST_STEPS)), 1.0), 0
        )
        rows = np.broadcast_to(self._rows[:, None], bins.shape)
        of_day = np.where(there, self.of_day[rows, bins], 0.0)
        left = about - of_day
        settled = has & (age_seconds > self.period_seconds)
        pace = np.where(settled, np.minimum(count / self._error_steps, 1.0), 0.0)
        squares = np.stack([(about**2).sum(1), (left**2).sum(1)]) / total
        self.error += pace * (squares - self.error)
        for first, last in _runs(bins):
            here, run = bins[:, first], slice(first, last)
            visits = self.visits[self._rows, here].astype(np.int64)
            known = self.of_day[self._rows, here].astype(np.float64)
            self.of_day[self._rows, here] = _in_turn(known, visits, about[:, run], there[:, run], self._most_visits)
            self.visits[self._rows, here] = np.minimum(visits + there[:, run].sum(1), int(_MOST_VISITS))
        # What the time of the day explains the level need not follow.
        self.level += gain * np.where(self.is_used[:, None] > 0, left, about).sum(1) / total
        # What was of use is given up only when it is of none, so that the walks need not learn anew all the time.
        least = np.where(self.is_used > 0, 1.0, _TELLS) * self.error[0]
        tells = (age_seconds > 2 * self.period_seconds) & (self.error[1] < least)
        self.is_used = tells.astype(np.float32)


def _runs(bins: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield where steps begin and end in which no signal gets into another part; *bins* are ``(signals, steps)``."""
    # Where all signals share their time they are one row, shown again and again.
    apart = bins if bins.strides[0] else bins[:1]
    changes = (np.flatnonzero((apart[:, 1:] != apart[:, :-1]).any(0)) + 1).tolist()
    yield from zip([0, *changes], [*changes, bins.shape[1]], strict=True)


def _in_turn(known: Floats, visits: npt.NDArray[np.int64], values: Floats, there: Bools, most: float) -> Floats:
    """
    Return the mean *known* of so many *visits* after further *values*, ``(signals, steps)``, one by one.

    Each moves it by one over the visits until then, of which at most so many count.
    """
    before = visits[:, None] + np.cumsum(there, axis=1) - there
    weight = there / (np.minimum(before, most) + 1.0)
    # What is left of each at the end, and last of what was known.
    left = np.cumprod(np.concatenate([np.ones((len(known), 1)), 1.0 - weight[:, ::-1]], axis=1), axis=1)
    return np.asarray(known * left[:, -1] + (weight * values * left[:, -2::-1]).sum(1))
