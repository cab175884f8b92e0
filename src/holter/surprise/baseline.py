"""
What is usual by now, at this time of the day and at this time of the week, in bounded scores.

All are learnt on scores that are clipped, never on raw values: a single value moves them by its rank at most. The slow
level follows drifts over some hundred steps, that of a steady signal over some thousand. A time of the day is used once
two days were seen and only where it tells: where scores are closer to it, and a level of its own beside it, than to the
slow level alone. That other level hardly moves within the first two days, so that it leaves the time of the day what is
its own. What the week adds to that, in parts of three hours, is used once two weeks were seen, and again only where it
tells.

A score is a rank among what was seen, so a time of the day is only worth what ranks go on to mean. From its use on
ranks hardly move, once that day is over and all hours have the same part in them; the first days, and the first two in
use, each outlive those before them; then it is known. What is unusual teaches the time of the day all the same, but by
no more than scores scatter by at that hour: trouble leaves no echo, and what comes each day is usual some days later.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.surprise.cycle import Cycle
from holter.surprise.lesson import Lesson
from holter.surprise.normal import Bools, Floats, Singles
from holter.surprise.steadiness import STEADY_STEPS, pace_of

DAY_SECONDS: Final = 86_400.0
BINS: Final = 48
"""Parts of a day."""
WEEK_PARTS: Final = 56
_DAYS: Final = 7
_DAILY_SECONDS: Final = 30.0
"""What is judged more often than that leaves the day and the week to a slower rhythm."""
_LEVEL_STEPS: Final = 500.0
_FIRST_STEPS: Final = 20.0
_ERROR_STEPS: Final = 500.0
_TELLS: Final = 0.85
"""The time of the day, and what the week adds, are used where they leave less than this share of the mean square."""
SETTLED_PERIODS: Final = 2.0
"""After so many in use the time of the day is known as well as it will be."""
_FADED: Final = 0.125
"""Until then each period outlives those before it, which count for so much of one."""
_RANKED_STEPS: Final = 4_000.0
_RANKED_PERIODS: Final = 2.0
"""The past in which values are ranked is the longer of both, so that each hour has its part in it."""
_SURE_VALUES: Final = 768.0
"""Fewer values count for what they are, of steady signals too: after a new usual that has to be learnt."""
_WHOLE_PERIODS: Final = 1.5
"""So much of that is needed for ranks to be kept still, and for so much counts that of what begins to be used."""
_STILL_PERIODS: Final = 30.0
"""Ranks that are kept still move by a thirtieth a day: what is usual follows within three, and is off by as much."""


class Baseline:
    """
    Slow level, time of day and time of week of *count* signals that are sampled each *step_seconds*.

    Where a step is shorter than 30 s the level is all. Else this costs 2.5 bytes for each of 48 parts, 1.5 for each
    of 56, and 36 more.
    """

    def __init__(self, count: int, step_seconds: float, period_seconds: float = DAY_SECONDS) -> None:
        self.period_seconds = period_seconds
        self.level = np.zeros(count, np.float32)
        self.beside = np.zeros(count, np.float32)
        """The slow level beside the time of the day."""
        self.steps = np.zeros(count, np.float32)
        self.is_daily = step_seconds >= _DAILY_SECONDS
        """Whether the time of the day is learnt."""
        self.period_steps = period_seconds / step_seconds
        part_steps, span = self.period_steps / BINS, _DAYS * BINS / WEEK_PARTS
        # Of clean signals the noise is not much more than a fortieth of a deviation of what they do all day.
        self.day = Cycle(count, BINS if self.is_daily else 0, span=1.0, part_steps=part_steps, is_fine=True)
        self.week = Cycle(count, WEEK_PARTS if self.is_daily else 0, span=span, part_steps=span * part_steps)
        self.error = np.ones((2, count), np.float32)
        """The mean square of scores about the level alone, and about the time of the day and the level beside it."""
        self.week_error = np.ones((2, count), np.float32)
        """That of scores about the time of the day, and about the time of the week too."""
        self.is_used = np.zeros(count, np.bool_)
        """Whether the time of the day is used."""
        self.used_from = np.zeros(count, np.float32)
        """How old each signal was, in seconds, when that began."""
        self.days_used = np.zeros(count, np.int8)
        """How many of the first two days have ended, or of the first two in use."""
        self.has_ended = np.zeros(count, np.bool_)
        """Of which signals one of those ended with the last block."""
        self.is_weekly = np.zeros(count, np.bool_)
        """Whether the time of the week is used beside it."""
        self.ranked_from = _WHOLE_PERIODS * self.period_steps
        """From so many values on ranks go on to mean what they do, where the time of the day is used."""
        # Over a whole period: within one the slow level alone is good at some hours.
        self._error_steps = max(_ERROR_STEPS, self.period_steps)
        self._week_steps = max(_ERROR_STEPS, _DAYS * self.period_steps)
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
        """Return the scores that are usual at *places* that are ``(signals, steps)``, or one row of them for all."""
        level = self.level[:, None]
        if not self._are_used:
            return level.astype(np.float64)
        return np.where(self.is_used[:, None], self._by_time(self._rows[:, None], places), level)

    def _by_time(self, rows: npt.NDArray[np.intp], places: Floats) -> Floats:
        known: Floats = self.beside[rows] + self.day.at(rows, places)
        if self._are_weekly:
            known += self.is_weekly[rows] * self.week.at(rows, places)
        return known

    def learn(self, lesson: Lesson) -> None:
        """Take in a block. The level of signals that are steady is followed more slowly."""
        taught = lesson.taught & ~lesson.held[:, None]
        count = taught.sum(1)
        self.steps += count
        pace = np.maximum(pace_of(_LEVEL_STEPS, lesson.steady), (1.0 - lesson.steady) / (self.steps + _FIRST_STEPS))
        about = np.where(taught, lesson.scores - self.level[:, None], 0.0)
        self.level += np.minimum(count * pace, 1.0) * about.sum(1) / np.maximum(count, 1)
        if self.is_daily:
            self._learn_times(lesson, taught)

    def _learn_times(self, lesson: Lesson, taught: Bools) -> None:
        scores, places, age_seconds = lesson.scores, lesson.places, lesson.lived
        # What is there and not usual is still the time of the day, as long as that is not known well.
        is_settled = self.periods_in_use(age_seconds) >= SETTLED_PERIODS
        counted = np.where(is_settled[:, None], taught, lesson.there)
        count = counted.sum(1)
        total = np.maximum(count, 1)
        about = np.where(counted, scores - self.level[:, None], 0.0)
        beside = scores - self.beside[:, None]
        rows = self._rows[:, None]
        left = beside - self.day.at(rows, places)
        # Without a time of the day there is no week beside it.
        by_week = self._learn_week(left, places, counted, age_seconds) if self._are_used else 0.0
        # What is unusual is the time of the day too, if it comes each day: but by no more than scores scatter by.
        over = left - self.is_weekly[:, None] * by_week
        unusual = lesson.there & ~counted
        beside -= np.where(unusual, over - np.minimum(np.maximum(over, -lesson.reach), lesson.reach), 0.0)
        left = np.where(counted, left, 0.0)
        settled = (count > 0) & (age_seconds > self.period_seconds)
        share = np.where(settled, np.minimum(count / self._error_steps, 1.0), 0.0)
        squares = np.stack([(about**2).sum(1), (left**2).sum(1)]) / total
        self.error += share * (squares - self.error)
        # What ranks meant in the first periods they do not mean later.
        days = np.where(self.is_used, self.periods_in_use(age_seconds), age_seconds / self.period_seconds)
        days = np.minimum(np.floor(days), SETTLED_PERIODS)
        ended = days > self.days_used
        self.has_ended = ended & self.is_used
        if np.count_nonzero(ended):
            self.days_used[ended] = days[ended]
            self._fade(ended & ~(self.is_used & (days == SETTLED_PERIODS)))
        self.day.learn(beside, places, lesson.there, np.full(len(count), self.day.most_visits))
        left = np.where(counted, over, 0.0)
        self.beside += np.minimum(count / self._error_steps, 1.0) * left.sum(1) / total
        # What was of use is given up only when it is of none, so that the walks need not learn anew all the time.
        least = np.where(self.is_used, 1.0, _TELLS) * self.error[0]
        is_used = (age_seconds > 2 * self.period_seconds) & (self.error[1] < least)
        begins = is_used & ~self.is_used
        if np.count_nonzero(begins):
            self.used_from[begins], self.days_used[begins] = age_seconds[begins], 0
            self._fade(begins)
        self.is_used = is_used
        least = np.where(self.is_weekly, 1.0, _TELLS) * self.week_error[0]
        is_old = (age_seconds > 2 * _DAYS * self.period_seconds) & self.is_used
        self.is_weekly = is_old & (self.week_error[1] < least)
        self.prepare()

    def _fade(self, which: Bools) -> None:
        self.day.fade(which, _FADED * self.period_steps / BINS)

    def periods_in_use(self, age_seconds: Floats) -> Floats:
        """Return for how many periods the time of the day has been in use; -1 where it is not."""
        return np.where(self.is_used, (age_seconds - self.used_from) / self.period_seconds, -1.0)

    def whole(self, steps: float) -> Floats:
        """Return so many *steps* for each signal, but a whole period where the time of the day is used."""
        return np.where(self.is_used, max(steps, self.period_steps), steps)

    def is_settling(self, age_seconds: Floats) -> Bools:
        """Return of which signals the time of the day is in use but not well known."""
        if not self._are_used:
            return np.zeros(len(self.level), np.bool_)
        in_use = self.periods_in_use(age_seconds)
        return np.asarray((in_use >= 0.0) & (in_use < SETTLED_PERIODS))

    def ranked(self, known: Singles, lesson: Lesson) -> Singles:
        """
        Return for how many values those that are *known* count when new ones are ranked among them.

        As long as the time of the day is used a rank has to mean at each day what it meant at the last: from the end of
        the day on in which that began, so that all hours have the same part in it. What steady signals have done so far
        counts for more than it is: else what is new is soon usual.
        """
        past = np.minimum(known, max(_RANKED_STEPS, _RANKED_PERIODS * self.period_steps))
        past = np.where(known >= _SURE_VALUES, np.maximum(past, lesson.steady * np.float32(STEADY_STEPS)), past)
        is_whole = lesson.lived >= np.ceil(self.used_from / self.period_seconds) * self.period_seconds
        is_still = self.is_used & (known >= self.ranked_from) & is_whole
        return np.where(is_still, np.maximum(past, _STILL_PERIODS * self.period_steps), past).astype(np.float32)

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
