"""Signals by number, judged in one rhythm: rows of a detector are given out and, when a signal is gone, given back."""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from holter.signals import longer
from holter.surprise import kept
from holter.surprise.baseline import SETTLED_PERIODS
from holter.surprise.detector import BLOCK, Detector
from holter.surprise.extremes import KEPT
from holter.surprise.normal import Floats
from holter.surprise.shares import STATISTICS
from holter.surprise.stride import WALKS
from holter.surprise.walks import SURE

Numbers = npt.NDArray[np.int32]

State = Literal["learning", "judging", "unjudgeable"]
STATES: Final[tuple[State, ...]] = ("learning", "judging", "unjudgeable")
LEARNING, JUDGING, UNJUDGEABLE, UNKNOWN = range(4)
_FIRST: Final = 64
_GONE_STEPS: Final = 1_000
_SPARSE: Final = 0.1
_LEAST_STEPS: Final = 640
MOST_SIGNALS: Final = 100_000
_LOOK_STEPS: Final = 5
_PERIODS: Final = 3.0
"""Of fewer days only one is known."""
_KNOWN_PERIODS: Final = SETTLED_PERIODS + 0.5
_SUDDEN_STEPS: Final = 60
"""What was on its way for no longer than that came suddenly."""
_MOVED_STEPS: Final = 300.0
_MOVED_TIMES: Final = 3.0
"""What comes less often than once in so many steps, and of all signals in three, has moved along."""
_ROUNDED: Final = 0.999
_NO_ROW: Final = -1


class Alarm(NamedTuple):
    """A signal that does what it has not done before."""

    number: int
    statistic: str
    since_seconds: float
    """For how long it has been on its way."""
    once_in: tuple[float, float, float]
    """Once in how many steps this signal does so while nothing changes: at least, in the mean, at most; 90 %."""
    step_seconds: float
    expected: tuple[float, float]


class Rhythm:
    """The signals of a service, judged each *step_seconds*; at most 100,000."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds = step_seconds
        self.detector = Detector(_FIRST, step_seconds=step_seconds)
        self._rows: Numbers = np.zeros(0, np.int32)
        """Of each number its row, if it has one."""
        self._numbers: Numbers = np.full(_FIRST, _NO_ROW, np.int32)
        self._seen = np.zeros(_FIRST, np.int32)
        self._born = np.zeros(_FIRST, np.int32)
        self._step = 0
        self._earlier = [self._heights(), self._heights()]

    def states(self, size: int) -> npt.NDArray[np.int8]:
        """
        Return by number what is done with each signal, as the place in `STATES`, *size* of them.

        Too few values so far, judged, or too sparse or of too long a memory; `UNKNOWN` where there is no signal.
        """
        detector = self.detector
        lived = self._step - self._born
        is_sparse = (lived >= _LEAST_STEPS) & (detector.age < _SPARSE * lived)
        state = np.where(detector.is_unjudgeable, UNJUDGEABLE, JUDGING).astype(np.int8)
        state[detector.is_learning] = LEARNING
        state[is_sparse] = UNJUDGEABLE
        found = np.full(size, UNKNOWN, np.int8)
        taken = np.flatnonzero(self._numbers >= 0)
        found[self._numbers[taken]] = state[taken]
        return found

    @property
    def judged(self) -> int:
        """How many signals are judged."""
        return int((self.detector.is_judging & ~self.detector.is_unjudgeable).sum())

    def judges(self, number: int) -> bool:
        """Whether a signal is judged in this rhythm."""
        row = self._row(number)
        return row >= 0 and bool(self.detector.is_judging[row] and not self.detector.is_unjudgeable[row])

    def ask(self, steps_between: float) -> None:
        """Let the alarms of each signal be so many steps apart in the mean."""
        self.detector.ask(steps_between)

    def judge(
        self, judged: Floats, weights: Floats, directions: npt.NDArray[np.int8], time_seconds: float
    ) -> list[Alarm]:
        """
        Judge what the signals say now, by number, NaN for nothing; return those that call for an alarm.

        The distance of each from its median counts *weights* times. *directions* are which way each is trouble, for
        those that are new.
        """
        said = np.flatnonzero(np.isfinite(judged))
        self._admit(said, directions)
        rows = self._rows[said]
        is_known = rows >= 0
        rows = rows[is_known]
        values = np.full(self.detector.count, np.nan)
        values[rows] = self._weighed(rows, judged[said[is_known]], weights[said[is_known]])
        self._seen[rows] = self._step
        alarms = np.flatnonzero(self.detector.update(values, time_seconds))
        self._step += 1
        if self._step % _LOOK_STEPS == 0:
            self._earlier = [self._earlier[1], self._heights()]
        found = ((row, self._alarm(row)) for row in alarms.tolist() if self._numbers[row] >= 0)
        return [one for row, one in found if not self._may_be_the_hour(row, one, time_seconds)]

    def _weighed(self, rows: Numbers, judged: Floats, weights: Floats) -> Floats:
        usual = self.detector.medians(rows)
        # What has no past yet is taken as it is.
        is_told = (weights < 1.0) & np.isfinite(usual)
        return np.where(is_told, usual + (judged - usual) * weights, judged)

    def _may_be_the_hour(self, row: int, alarm: Alarm, time_seconds: float) -> bool:
        """Whether what came slowly may be the time of the day, which is not known well yet."""
        baseline = self.detector.baseline
        age = time_seconds - self.detector.began
        in_use = baseline.periods_in_use(age)[row]
        is_young = age[row] < _PERIODS * baseline.period_seconds or 0.0 <= in_use < _KNOWN_PERIODS
        return bool(is_young and alarm.since_seconds > _SUDDEN_STEPS * self.step_seconds)

    def moved(self) -> list[int]:
        """Return the signals that are unusual now and get no less so, whether or not they call for an alarm."""
        steps = self.detector.steps_between()
        # A walk that comes down again tells of what was.
        steps[:WALKS][self.detector.walks < _ROUNDED * self._earlier[0]] = 0.0
        most = np.where(self.detector.is_unjudgeable, 0.0, steps.max(0))
        is_moved = (most > max(_MOVED_STEPS, _MOVED_TIMES * self.judged)) & (self._numbers >= 0)
        return [int(number) for number in self._numbers[is_moved]]

    def settle(self, number: int) -> None:
        """Let the walks of a signal begin anew: it is as usual again."""
        row = self._row(number)
        if row >= 0:
            self.detector.settle(row)

    def _alarm(self, row: int) -> Alarm:
        steps = self.detector.steps_between()[:, row]
        which = int(steps.argmax())
        lasting = self.detector.lasting_of(row, which)
        return Alarm(
            int(self._numbers[row]), STATISTICS[which], lasting * self.step_seconds,
            self._once_in(row, which, float(steps[which])), self.step_seconds, self.detector.range_of(row),
        )  # fmt: skip

    def _once_in(self, row: int, which: int, steps: float) -> tuple[float, float, float]:
        """Return *steps* between those of which it is not known where they lie, one time in ten."""
        detector = self.detector
        # Of the past itself it is known how often something comes; what is beyond is as sure as the tail's slope.
        if which < WALKS:
            known, sure = float(BLOCK), detector.tails.sureness(row)
        else:
            known, sure = float(detector.extremes.values[row]) / KEPT, 1.0 + SURE / math.sqrt(KEPT)
        known = min(max(known, 1.0), steps)
        beyond = steps / known
        return known * beyond ** (1 / sure), steps, min(known * beyond**sure, 1e300)

    def _heights(self) -> npt.NDArray[np.float16]:
        return self.detector.walks.astype(np.float16)

    # -- rows

    @property
    def has_just_looked(self) -> bool:
        """Whether signals that are gone have just given their rows back; once in 1,000 steps."""
        return self._step % _GONE_STEPS == 1

    def _row(self, number: int) -> int:
        return int(self._rows[number]) if number < len(self._rows) else _NO_ROW

    def numbers(self) -> Numbers:
        """Return the signals that have a row."""
        return self._numbers[self._numbers >= 0]

    def _admit(self, said: npt.NDArray[np.intp], directions: npt.NDArray[np.int8]) -> None:
        self._rows = longer(self._rows, len(directions), _NO_ROW)
        if self._step % _GONE_STEPS == 0:
            self._give_back()
        new = said[self._rows[said] < 0]
        free = np.flatnonzero(self._numbers < 0)
        if len(new) > len(free):
            count = self.detector.count
            self._grow(min(max(count + count // 4, count + len(new) - len(free)), MOST_SIGNALS))
            free = np.flatnonzero(self._numbers < 0)
        new = new[: len(free)]
        if not len(new):
            return
        rows = free[: len(new)]
        self._rows[new], self._numbers[rows] = rows, new
        self._born[rows] = self._seen[rows] = self._step
        self.detector.face(rows, directions[new])
        self.detector.prepare()

    def _grow(self, count: int) -> None:
        self.detector = self.detector.grown(count)
        self._earlier = [self._heights(), self._heights()]
        self._numbers = longer(self._numbers, count, _NO_ROW)
        self._seen, self._born = longer(self._seen, count), longer(self._born, count)

    def _give_back(self) -> None:
        rows = np.flatnonzero((self._numbers >= 0) & (self._step - self._seen > _GONE_STEPS))
        if not len(rows):
            return
        self._rows[self._numbers[rows]], self._numbers[rows] = _NO_ROW, _NO_ROW
        asked = self.detector.asked[rows].copy()
        self.detector.forget(rows)
        self.detector.asked[rows] = asked
        self.detector.prepare()

    # -- what outlives the process

    def oldest(self, most: int) -> npt.NDArray[np.intp]:
        """Return the rows of at most so many signals that are judged, those first that are known for longest."""
        known = np.flatnonzero((self._numbers >= 0) & self.detector.is_judging)
        return known[np.argsort(-self.detector.age[known], kind="stable")][:most]

    @property
    def kept_bytes(self) -> int:
        """How many bytes `save` returns of a signal."""
        return kept.bytes_of(self.detector)

    def save(self, most: int) -> tuple[Numbers, list[bytes]]:
        """Return at most so many signals, those first that are known for longest, with what was learnt of each."""
        rows = self.oldest(most)
        return self._numbers[rows], kept.packed(self.detector, rows)

    def load(self, numbers: npt.NDArray[np.intp], content: list[bytes]) -> None:
        """
        Go on with what was learnt of the signals of these *numbers*.

        Raises:
            ValueError: it is not what `save` returns.
        """
        fresh = Rhythm(self.step_seconds)
        fresh._admit(numbers, np.zeros(int(numbers.max(initial=-1)) + 1, np.int8))
        kept.unpack(fresh.detector, fresh._rows[numbers].astype(np.intp), content)
        fresh.detector.prepare()
        self.__dict__.update(fresh.__dict__)
