"""
What is usual by now, at this time of the day and at this time of the week, in bounded scores.

All are learnt on scores that are clipped, never on raw values: a single value moves them by its rank at most. The slow
level follows drifts over some hundred steps, that of a steady signal over some thousand. A time of the day is used once
two days were seen and only where it tells: where scores are closer to it, and a level of its own beside it, than to the
slow level alone. That other level hardly moves within the first two days, so that it leaves the time of the day what is
its own. What the week adds to that, in parts of three hours, is used once two weeks were seen, and again only where it
tells.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.cycle import PERIODS, Cycle
from holter.surprise.normal import Bools, Floats
from holter.surprise.steadiness import pace_of

DAY_SECONDS: Final = 86_400.0
BINS: Final = 48
"""Parts of a day."""
WEEK_PARTS: Final = 56
_DAYS: Final = 7
_WEEKLY_SECONDS: Final = 30.0
"""What is judged more often than that leaves the week to a slower rhythm."""
_LEVEL_STEPS: Final = 500.0
_FIRST_STEPS: Final = 20.0
_ERROR_STEPS: Final = 500.0
_TELLS: Final = 0.85
"""The time of the day, and what the week adds, are used where they leave less than this share of the mean square."""
_FIRST_VISITS: Final = 4.0
SETTLED_PERIODS: Final = 4.0
"""After so many the time of the day is known as well as it will be."""


class Baseline:
    """
    Slow level, time of day and time of week of *count* signals that are sampled each *step_seconds*.

    The week is not known where a step is shorter than 30 s. Costs 1.5 bytes for each of 48 and 56 parts, and 30 more.
    """

    def __init__(self, count: int, step_seconds: float, period_seconds: float = DAY_SECONDS) -> None:
        self.period_seconds = period_seconds
        self.level = np.zeros(count, np.float32)
        self.beside = np.zeros(count, np.float32)
        """The slow level beside the time of the day."""
        self.steps = np.zeros(count, np.float32)
        self.day = Cycle(count, BINS, span=1.0, part_steps=period_seconds / BINS / step_seconds)
        span = _DAYS * BINS / WEEK_PARTS
        parts = WEEK_PARTS if step_seconds >= _WEEKLY_SECONDS else 0
        self.week = Cycle(count, parts, span=span, part_steps=span * period_seconds / BINS / step_seconds)
        self.error = np.ones((2, count), np.float32)
        """The mean square of scores about the level alone, and about the time of the day and the level beside it."""
        self.week_error = np.ones((2, count), np.float32)
        """That of scores about the time of the day, and about the time of the week too."""
        self.is_used = np.zeros(count, np.bool_)
        """Whether the time of the day is used."""
        self.is_weekly = np.zeros(count, np.bool_)
        """Whether the time of the week is used beside it."""
        # Over a whole period: within one the slow level alone is good at some hours.
        self._error_steps = max(_ERROR_STEPS, period_seconds / step_seconds)
        self._week_steps = max(_ERROR_STEPS, _DAYS * period_seconds / step_seconds)
        self.prepare()

    def prepare(self) -> None:
        """Derive what is asked each update, after a block or a change of the arrays."""
        self._are_used = bool(self.is_used.any())
        self._are_weekly = bool(self.is_weekly.any())

    @property
    def _rows(self) -> npt.NDArray[np.intp]:
        return np.arange(len(self.level))

    def places(self, time_seconds: npt.ArrayLike) -> Floats:
        """Return how many parts of a day have passed at each time since its week began, 0 to 336."""
        return np.asarray(time_seconds, float) % (_DAYS * self.period_seconds) * (BINS / self.period_seconds)

    def usual(self, places: Floats) -> Floats:
        """Return the score that is usual at these *places*, for each signal."""
        if not self._are_used:
            return self.level.astype(np.float64)
        return np.where(self.is_used, self._by_time(self._rows, places), self.level)

    def usual_each(self, places: Floats) -> Floats:
        """Return the scores that are usual at *places* that are ``(signals, steps)``."""
        level = self.level[:, None]
        if not self._are_used:
            return np.broadcast_to(level, places.shape)
        return np.where(self.is_used[:, None], self._by_time(self._rows[:, None], places), level)

    def _by_time(self, rows: npt.NDArray[np.intp], places: Floats) -> Floats:
        known: Floats = self.beside[rows] + self.day.at(rows, places)
        if self._are_weekly:
            known += self.is_weekly[rows] * self.week.at(rows, places)
        return known

    def learn(
        self, scores: Floats, places: Floats, taught: Bools, there: Bools, age_seconds: Floats, *, steady: Floats
    ) -> None:
        """
        Take in a block of ``(signals, steps)``: raw *scores* at *places*, the usual ones where *taught* is set.

        What is *there* and not usual is still the time of the day, as long as that is not known. The level of signals
        that are *steady*, 0 to 1, is followed more slowly.
        """
        self.steps += taught.sum(1)
        slowest = pace_of(_LEVEL_STEPS, steady)
        pace = np.maximum(slowest, 1.0 / (self.steps + _FIRST_STEPS))
        about = np.where(taught, scores - self.level[:, None], 0.0)
        self.level += np.minimum(taught.sum(1) * pace, 1.0) * about.sum(1) / np.maximum(taught.sum(1), 1)
        counted = np.where(self.is_used[:, None], taught, there)
        count = counted.sum(1)
        total = np.maximum(count, 1)
        about = np.where(counted, scores - self.level[:, None], 0.0)
        beside = scores - self.beside[:, None]
        rows = self._rows[:, None]
        left = beside - self.day.at(rows, places)
        # Without a time of the day there is no week beside it.
        is_weekly = self.week.parts and self._are_used
        by_week = self._learn_week(left, places, counted, age_seconds) if is_weekly else 0.0
        left = np.where(counted, left, 0.0)
        settled = (count > 0) & (age_seconds > self.period_seconds)
        share = np.where(settled, np.minimum(count / self._error_steps, 1.0), 0.0)
        squares = np.stack([(about**2).sum(1), (left**2).sum(1)]) / total
        self.error += share * (squares - self.error)
        # What ranks meant in the first periods they do not mean later: it is soon outlived.
        young = np.where(settled, self.day.most_visits / PERIODS, _FIRST_VISITS)
        most = np.where(age_seconds > SETTLED_PERIODS * self.period_seconds, self.day.most_visits, young)
        self.day.learn(beside, places, counted, most)
        left = np.where(counted, left - self.is_weekly[:, None] * by_week, 0.0)
        self.beside += np.minimum(count / self._error_steps, 1.0) * left.sum(1) / total
        # What was of use is given up only when it is of none, so that the walks need not learn anew all the time.
        least = np.where(self.is_used, 1.0, _TELLS) * self.error[0]
        self.is_used = (age_seconds > 2 * self.period_seconds) & (self.error[1] < least)
        least = np.where(self.is_weekly, 1.0, _TELLS) * self.week_error[0]
        is_old = (age_seconds > 2 * _DAYS * self.period_seconds) & self.is_used
        self.is_weekly = is_old & (self.week_error[1] < least)
        self.prepare()

    def _learn_week(self, left: Floats, places: Floats, counted: Bools, age_seconds: Floats) -> Floats:
        """Take in what the time of the day has *left*; return what was known of it by the time of the week."""
        count = counted.sum(1)
        total = np.maximum(count, 1)
        known = self.week.at(self._rows[:, None], places)
        settled = (count > 0) & (age_seconds > _DAYS * self.period_seconds)
        share = np.where(settled, np.minimum(count / self._week_steps, 1.0), 0.0)
        squares = [(np.where(counted, one, 0.0) ** 2).sum(1) / total for one in (left, left - known)]
        self.week_error += share * (np.stack(squares) - self.week_error)
        # As long as the time of the day is not known, nothing is left by it.
        is_known = age_seconds > 2 * self.period_seconds
        self.week.learn(left, places, counted, np.where(is_known, self.week.most_visits, 1.0))
        return known
