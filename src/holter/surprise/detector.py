"""
Which of many signals does something that it has not done before, at a rate of false alarms that is asked for.

Each update takes a vector of values. A value becomes the bounded score of its rank among the past (`ranks`), less what
is usual by now and at this time of the day (`baseline`), over its scatter; such scores drive reflected walks, upwards
and downwards and for the scatter; what is learnt of each walk's own block maxima says how high is too high (`walks`).
A value outside of all that was seen is judged too, by how far outside in orders of magnitude, and never called rarer
than 100 times the past.

Learning goes block by block of 32 steps, all signals at once. A step at which a walk was high teaches nothing of what
is usual, until that has lasted for so long that it is the new usual. For signals that go on as independent values would
(`steadiness`) less is high, and what is usual is learnt more slowly: else a small change is usual before it is found.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.surprise.baseline import Baseline
from holter.surprise.bytewise import STEPS
from holter.surprise.extremes import Extremes
from holter.surprise.lesson import Lesson
from holter.surprise.memory import Memory
from holter.surprise.normal import Bools, Floats, Singles
from holter.surprise.ranks import GRID, TIED, Ranks
from holter.surprise.scatter import Scatter
from holter.surprise.shares import STATISTICS, cases, spent
from holter.surprise.standstill import Standstill
from holter.surprise.steadiness import Steadiness
from holter.surprise.stride import DRIFTS, VALUES, WALKS, Known, Now, step
from holter.surprise.unusual import MOST_STEPS, Unusual
from holter.surprise.walks import Tails, excess_of, level_of

BLOCK: Final = 32
_STEEP: Final = np.array([1, 3])
_HELD_STEPS: Final = 4
"""After an alarm so many steps teach nothing, and those that follow while a steep walk is not down."""
_SURE_STEPS: Final = 20_000.0
"""That holds for alarms as rare as this: what comes more often by itself has to be learnt."""
# How high walks of independent values go beyond their level; that of the scatter, simulated.
_INDEPENDENT: Final = np.concatenate([excess_of(DRIFTS), excess_of(DRIFTS), [2.1]])
_HANGING: Final = 1.4
"""Real values hang together, so that walks go higher than those of independent ones: expect two fifths more."""
_STEADY: Final = 1.15
"""Of those that are known to be steady expect only a seventh more."""
_STEADY_EXCESSES: Final = 100.0
"""What is expected of them is as good as so many excesses that were seen."""
_LEVEL: Final = np.concatenate([level_of(DRIFTS), level_of(DRIFTS), [4.3]])
LEAST_VALUES: Final = 64
"""Fewer values are no past."""
_RUNS: Final = 1.5
"""A walk that is high at the end of a block is so in the next one too: so many blocks are one time that it was high."""
_UNUSUAL_STEPS: Final = 1_000.0
_ANEW_STEPS: Final = 3_000.0
_MOSTLY: Final = 0.5
"""From so much on a signal is steady where there is only yes or no."""
_UP_STEPS: Final = 100.0
"""A walk of a steady signal that is so high at the end of a block teaches nothing of what is usual."""
_CUT_STEPS: Final = 10_000.0
_KEPT: Final = 500.0
"""For so many values counts what was usual before."""
_SETTLING_TIMES: Final = np.float32(10.0)
"""So much rarer has to be what alarms while the time of the day is in use but not well known."""


class Detector:
    """
    Judges *count* signals, one value each per *step_seconds*; see the module.

    *direction* is as in `shares`, one for all or one each. Costs 1 KiB a signal and, for 100 signals,
    some 0.5 us a signal and update; 24 us for one alone. Not thread-safe.
    """

    def __init__(self, count: int, *, step_seconds: float, direction: npt.ArrayLike = 0) -> None:
        self.count, self.step_seconds = count, step_seconds
        self.way = np.zeros(count, np.int8)
        """Which way each signal is trouble."""
        self.way[:] = direction
        self.ranks, self.baseline = Ranks(count), Baseline(count, step_seconds)
        self.scatter = Scatter(count, self.baseline.period_steps, is_daily=self.baseline.is_daily)
        self.tails = Tails(count, BLOCK, _LEVEL, _HANGING * _INDEPENDENT)
        self.extremes, self.memory, self.steadiness = Extremes(count), Memory(count), Steadiness(count)
        self.standstill = Standstill()
        self.origin = np.full(count, np.nan)
        """The first value of each signal, from which the others are counted; NaN before it."""
        self.began = np.full(count, np.nan)
        self.age = np.zeros(count, np.float32)
        """How many values each signal had."""
        self._state = np.zeros((len(STATISTICS), count), np.float32)
        self.lasting = np.zeros((WALKS, count), np.uint16)
        """How many steps ago each walk was 0."""
        self._anew = np.zeros(0, np.intp), self.lasting[:, :0]
        """Which signals' walks began anew at the last update, and how long ago they were 0 then."""
        self.unusual, self.held = Unusual(count), np.zeros(count, np.int8)
        self._are_held = False
        self.asked = np.full(count, np.inf, np.float32)
        self.heights = self._state
        """How high each statistic was at the last update, before walks began anew."""
        self.judged = np.zeros(count, np.bool_)
        self._highest = np.zeros((WALKS, count), np.float32)
        self._values = np.full((count, BLOCK), np.nan, np.float32)
        self._scores = np.zeros((count, BLOCK), np.int8)
        """In steps of `bytewise`."""
        self._places = np.zeros((1, BLOCK), np.float32)
        self._now: npt.ArrayLike = 0.0
        self._at = 0
        self.prepare()

    @property
    def walks(self) -> Singles:
        """How high each walk is, a part of the state."""
        return self._state[:WALKS]

    # -- each update

    def update(self, values: npt.ArrayLike, time_seconds: npt.ArrayLike) -> Bools:
        """
        Judge one value of each signal, NaN where there is none, at Unix time; return which call for an alarm.

        An alarm is a statistic that is higher than `ask` asked for. The walks of the signal then begin anew, unless
        what was asked for is less rare than once in 3,000 steps.
        """
        if self._at == BLOCK:
            self._learn()
        given = np.asarray(values, float)
        known = np.isfinite(given)
        all_known = np.count_nonzero(known) == self.count
        self._now = time_seconds
        if self._are_new:
            self._begin(given, known)
        moved = (given - self.origin).astype(np.float32)
        self.standstill.keep(moved)
        if not all_known:
            moved = np.where(known, moved, np.float32(0))
        at, places = self._at, self.baseline.places(time_seconds)
        self._at += 1
        self._values[:, at] = moved if all_known else np.where(known, moved, np.float32(np.nan))
        if places.ndim and len(self._places) == 1:
            self._places = np.repeat(self._places, self.count, axis=0)
        self._places[:, at] = places
        self.age += known
        self.judged = judged = self.is_judging if all_known else known & self.is_judging
        scores, self.heights = np.empty(self.count, np.int8), self._state
        now = Now(moved, self.baseline.usual(places), self.scatter.per_scatter(places), judged, scores)
        unusual = step(now, self._known)
        self._scores[:, at] = scores
        if not unusual and not self._are_held:
            return np.zeros(self.count, np.bool_)
        heights = self._state
        high: Bools = (heights > self._unusual_heights).any(0) & judged
        if self._are_held:
            # What has called for an alarm is unusual until its walks have come down by themselves.
            is_up = (self.walks[_STEEP] > 0.0).any(0)
            self.held = np.where(judged & (self.held > is_up), self.held - 1, self.held).astype(np.int8)
            self._are_held = bool(self.held.any())
            high |= self.held > 0
        if not high.any():
            return high
        self.unusual.note(high, at)
        alarms: Bools = (heights > self._thresholds).any(0) & judged & ~self.is_unjudgeable
        anew = (heights > self._anew_heights).any(0) & judged
        if anew.any():
            # How high they were is still to be told.
            self.heights = heights.copy()
            rows = np.flatnonzero(anew)
            self._anew = rows, self.lasting[:, rows]
            self.walks[:, anew] = 0.0
            self.held[alarms & (self.asked >= _SURE_STEPS)] = _HELD_STEPS
            self._are_held = bool(self.held.any())
        return alarms

    def steps_between(self) -> Floats:
        """
        Return once in how many steps each statistic of the last update comes so high, ``(statistics, signals)``.

        While nothing changes, and weighed by its share: the least rate to `ask` for at which it calls for an alarm.
        """
        steps = self._steps_until(self.heights.astype(np.float64))
        return np.where(self.judged, steps * spent(self._case), 0.0)

    def lasting_of(self, row: int, statistic: int) -> int:
        """Return for how many steps a *statistic* had been above 0 when its signal last called for an alarm."""
        if statistic >= WALKS:
            return 1
        rows, lasting = self._anew
        found = np.flatnonzero(rows == row)
        return int(lasting[statistic, found[0]] if len(found) else self.lasting[statistic, row])

    def face(self, rows: npt.NDArray[np.intp], direction: npt.ArrayLike) -> None:
        """Let only more than usual count for the signals of *rows*, or less, or both; one *direction* each."""
        self.way[rows] = direction
        self._case = cases(self.way, self.ranks.is_at_end, self.steadiness.share)

    def medians(self, rows: npt.NDArray[np.integer[Any]]) -> Floats:
        """Return the median of what the signals of *rows* did so far; NaN before 64 values."""
        return np.where(self.is_judging[rows], self._median[rows] + self.origin[rows], np.nan)

    def range_of(self, row: int) -> tuple[float, float]:
        """Return between which values 95 of 100 of a signal's lie at this time, by what it did so far."""
        places = self.baseline.places(self._now)
        usual, reach = float(self.baseline.usual(places)[row]), 2.0 * math.sqrt(self.scatter.squares(places)[row])
        low, high = np.interp([usual - reach, usual + reach], GRID, self.ranks.quantiles[row])
        return float(low + self.origin[row]), float(high + self.origin[row])

    def ask(self, steps_between: npt.ArrayLike) -> None:
        """Let the alarms of a signal be so many steps apart in the mean while nothing changes; infinite for none."""
        self.asked = np.array(np.broadcast_to(np.asarray(steps_between, np.float32), (self.count,)))
        self._set_thresholds()

    # -- each block

    def _begin(self, given: Floats, known: Bools) -> None:
        new = known & np.isnan(self.origin)
        self.origin[new] = given[new]
        self.began[new] = np.broadcast_to(np.asarray(self._now, float), given.shape)[new]
        self._are_new = bool(np.isnan(self.origin).any())

    def _learn(self) -> None:
        """Take in the block that is full."""
        values, there = self._values, np.isfinite(self._values)
        with np.errstate(divide="ignore"):
            cut, up = self.tails.heights_for(self._shared(_CUT_STEPS, _UP_STEPS / _RUNS)[:, :WALKS])
        self._learn_heights(there, cut)
        # Where the time of the day is used half a day is none.
        is_usual, is_new_usual = self.unusual.end(BLOCK, self.baseline.whole(MOST_STEPS))
        if np.count_nonzero(is_new_usual):
            self.settle(is_new_usual)
            # While the time of the day gets known ranks go on to mean what they do.
            anew = is_new_usual & ~self.baseline.is_settling(self._lived())
            self.ranks.known[anew] = np.minimum(self.ranks.known[anew], _KEPT)
        is_up = np.asarray((self.walks > up).any(0))
        held = is_up & (self.steadiness.share >= _MOSTLY) & ~is_new_usual
        judged, places = there & self.is_judging[:, None], self._places.astype(np.float64)
        lesson = Lesson(
            self._scores / STEPS, places, np.sqrt(self.scatter.squares(places)), judged, judged & is_usual, held,
            self._lived(), self.steadiness.share,
        )  # fmt: skip
        self._learn_scatter(lesson, is_up)
        self._learn_usual(lesson)
        taught = there & is_usual & ~held[:, None]
        past = self.baseline.ranked(self.ranks.known, lesson)
        self.ranks.learn(np.where(taught, values, np.float32(np.nan)), np.flatnonzero(taught.any(1)), past)
        values[:], self._at = np.nan, 0
        self.prepare()

    def _lived(self) -> Floats:
        lived: Floats = np.fmax(np.asarray(self._now, float) - self.began, 0.0)
        return lived

    def _learn_heights(self, there: Bools, cut: Floats) -> None:
        """Take in how high walks and values got, of a long trouble only within its first block."""
        values = self._values
        most, least = np.where(there, values, -np.inf).max(1), np.where(there, values, np.inf).min(1)
        outside = (np.array([most, least]) - self._median) / self._unit
        is_told = self.is_judging & there.any(1) & (self.unusual.steps < BLOCK)
        is_over = (self.walks <= self.tails.level) | (self.steadiness.share < _MOSTLY)
        self.tails.learn(self._highest.astype(np.float64), cut, is_told, is_over)
        self._highest[is_over] = 0.0
        self.extremes.learn(np.log1p(np.maximum(outside, 0.0)), there.sum(1), is_told)

    def _learn_usual(self, lesson: Lesson) -> None:
        baseline = self.baseline
        used, weekly = baseline.is_used.copy(), baseline.is_weekly.copy()
        baseline.learn(lesson)
        # About another baseline the walks are others.
        changed = (used != baseline.is_used) | (weekly != baseline.is_weekly)
        if np.count_nonzero(changed):
            self._begin_anew(changed)
            self.steadiness.forget(changed)
            begins = baseline.is_used & ~used
            self.ranks.known[begins] = np.maximum(self.ranks.known[begins], baseline.ranked_from)
            self.scatter.forget_hours(begins)
            self.scatter.overall[begins] *= baseline.error[1, begins] / baseline.error[0, begins]
            begins = baseline.is_weekly & ~weekly
            self.scatter.overall[begins] *= baseline.week_error[1, begins] / baseline.week_error[0, begins]
        # As the time of the day gets known they get lower by far: what they did before tells nothing.
        self._begin_anew(baseline.has_ended)

    def settle(self, which: int | Bools) -> None:
        """Let the walks of the signals that *which* names begin anew: they are as usual, and nothing is on its way."""
        self.walks[:, which], self._highest[:, which], self.lasting[:, which], self.held[which] = 0.0, 0.0, 0, 0

    def _begin_anew(self, which: Bools) -> None:
        """Let walks of other scores begin anew, and what is known of them count for little."""
        if np.count_nonzero(which):
            self.settle(which)
            self.tails.forget(which)
            self.memory.forget(which)

    def _learn_scatter(self, lesson: Lesson, is_up: Bools) -> None:
        count = lesson.taught.sum(1)
        off = lesson.scores - self.baseline.usual_each(lesson.places)
        in_use = self.baseline.periods_in_use(lesson.lived)
        relative = self.scatter.learn(off, lesson, in_use, self.way, self.age)
        self.steadiness.learn(np.where(lesson.taught, off, 0.0), lesson.taught, self.memory.blocks, is_up)
        self.memory.learn(relative.sum(1) / np.maximum(count, 1), count >= BLOCK // 2)

    def grown(self, count: int) -> Detector:
        """Return a detector of *count* signals, of which the first are these; between two blocks or within one."""
        other = Detector(count, step_seconds=self.step_seconds)
        for (mine, axis), (theirs, _) in zip(self.arrays(), other.arrays(), strict=True):
            if axis:
                theirs[:, : self.count] = mine
            else:
                theirs[: self.count] = mine
        other._at, other._now = self._at, self._now
        other._places[:] = self._places[:1]
        other.prepare()
        return other

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Let *rows* be new signals."""
        fresh = Detector(len(rows), step_seconds=self.step_seconds)
        for (mine, axis), (theirs, _) in zip(self.arrays(), fresh.arrays(), strict=True):
            if axis:
                mine[:, rows] = theirs
            else:
                mine[rows] = theirs
        self.prepare()

    def arrays(self) -> list[tuple[npt.NDArray[Any], int]]:
        """Return all that is known, array by array, each with the axis that runs over the signals."""
        ranks, baseline, tails, memory = self.ranks, self.baseline, self.tails, self.memory
        extremes, scatter, unusual, steadiness = self.extremes, self.scatter, self.unusual, self.steadiness
        return [
            *((one, 0) for one in (ranks.quantiles, ranks.known, baseline.level, baseline.beside, baseline.steps)),
            *((one, 0) for one in (baseline.day.means, baseline.day.visits, baseline.week.means, baseline.week.visits)),
            *((one, 0) for one in (baseline.is_used, baseline.used_from, baseline.days_used, baseline.is_weekly)),
            *((one, 0) for one in (memory.sum, memory.blocks, scatter.overall, scatter.hours, unusual.steps)),
            *((one, 0) for one in (unusual.often, unusual.high, steadiness.swing, steadiness.follows)),
            *((one, 0) for one in (self.origin, self.began, self.age, self.asked, self.held, self.way)),
            *((one, 0) for one in (self._values, self._scores, extremes.blocks, extremes.values)),
            *((one, 1) for one in (baseline.error, baseline.week_error, memory.variance, scatter.square)),
            *((one, 1) for one in (tails.level, tails.excess, tails.blocks, extremes.top)),
            *((one, 1) for one in (self.walks, self.lasting, self._highest)),
        ]

    def prepare(self) -> None:
        """Derive what each update needs, after a block or a change of the arrays."""
        self.ranks.prepare()
        self.baseline.prepare()
        self.scatter.prepare(self.baseline.is_used)
        self._are_new = bool(np.isnan(self.origin).any())
        self._are_held = bool(self.held.any())
        self.is_judging: Bools = self.ranks.known >= LEAST_VALUES
        median, near, far = self.ranks.spread()
        self._median = median.astype(np.float32)
        self.standstill.prepare(self._median, near, self.origin, self.is_judging)
        unit = np.maximum(near, np.maximum(0.1 * near.max(0), 1e-6 * np.abs(median) + 1e-12))
        self._unit = (unit * [[1.0], [-1.0]]).astype(np.float32)
        # A time of the day is never known to the last, and about it walks go higher than theory says.
        steadiness = self.steadiness
        steadiness.prepare(self.scatter.overall, self.memory.blocks, ~self.baseline.is_used)
        self._case = cases(self.way, self.ranks.is_at_end, steadiness.share)
        expected = _STEADY * _INDEPENDENT[:, None] * steadiness.hangs
        self.tails.expect(expected, np.float32(_STEADY_EXCESSES) * steadiness.share[None, :])
        # A level that is off by a little, for long, is no memory.
        is_known, is_long = self.memory.told(self.baseline.is_used)
        self.is_unjudgeable = is_long & (steadiness.share < _MOSTLY)
        self.is_learning = ~(self.is_judging & (is_known | ~self.is_unjudgeable))
        """Of which it is not known yet whether they are judged."""
        self.extremes.prepare(np.log1p(near / unit), np.log1p(far / unit))
        self._set_thresholds()

    def _steps_until(self, heights: Floats) -> Floats:
        return np.concatenate(
            [_RUNS * self.tails.steps_until(heights[:WALKS]), self.extremes.steps_until(heights[VALUES])]
        )

    def _heights_for(self, *steps: Singles | float) -> Floats:
        """Return the heights that all statistics of a signal together come to once in so many *steps*, of each."""
        shared = self._shared(*steps)
        walks, values = self.tails.heights_for(shared[:, :WALKS] / _RUNS), self.extremes.heights_for(shared[:, VALUES])
        return np.concatenate([walks, values], axis=1)

    def _shared(self, *steps: Singles | float) -> Floats:
        """Return after how many steps each statistic may call for an alarm, so that all together do after *steps*."""
        shares = spent(self._case)
        return np.array([one / shares for one in steps])

    def _set_thresholds(self) -> None:
        # To a thousandth, which is nothing beside how well they are known.
        with np.errstate(divide="ignore", over="ignore"):
            asked, settling = self.asked, self.baseline.is_settling(self._lived())
            if np.count_nonzero(settling):
                asked = np.where(settling, _SETTLING_TIMES * asked, asked)
            thresholds, unusual = self._heights_for(asked, _UNUSUAL_STEPS)
            self._thresholds = self._anew_heights = thresholds.astype(np.float16)
            if (self.asked < _ANEW_STEPS).any():
                anew = np.maximum(thresholds, self._heights_for(_ANEW_STEPS)[0])
                self._anew_heights = anew.astype(np.float16)
        self._unusual_heights = np.minimum(unusual, self._thresholds).astype(np.float32)
        self._known = Known(
            self._state, self._highest, self.lasting, self.ranks.quantiles, self.ranks.furthest, self.scatter.square,
            self.scatter.per_square, self._unit, self._unusual_heights, self._median, self.way, TIED, GRID,
        )  # fmt: skip
