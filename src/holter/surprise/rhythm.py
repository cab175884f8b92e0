"""Signals by name, judged in one rhythm: rows of a detector are given out and, when a signal is gone, given back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from holter.signals import Key, Value
from holter.surprise.detector import STATISTICS, WALKS, Detector
from holter.surprise.kept import packed, unpack

State = Literal["learning", "judging", "unjudgeable"]
STATES: Final[tuple[State, ...]] = ("learning", "judging", "unjudgeable")
_FIRST: Final = 64
_GONE_STEPS: Final = 1_000
_SPARSE: Final = 0.1
_LEAST_STEPS: Final = 640
MOST_SIGNALS: Final = 100_000
_LOOK_STEPS: Final = 5
_PERIODS: Final = 2.0
_SUDDEN_STEPS: Final = 60
"""What was on its way for no longer than that came suddenly."""
_MOVED_STEPS: Final = 300.0
_MOVED_TIMES: Final = 3.0
"""What comes less often than once in so many steps, and of all signals in three, has moved along."""


class Alarm(NamedTuple):
    """A signal that does what it has not done before."""

    key: Key
    value: Value
    statistic: str
    since_seconds: float
    """For how long it has been on its way."""
    steps_between: float
    sureness: float
    expected: tuple[float, float]


class Rhythm:
    """The signals of a service, judged each *step_seconds*; at most 100,000."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds = step_seconds
        self.detector = Detector(_FIRST, step_seconds=step_seconds)
        self._rows: dict[Key, int] = {}
        self._keys: list[Key | None] = [None] * _FIRST
        self._free = list(range(_FIRST))[::-1]
        self._seen = np.zeros(_FIRST, np.int64)
        self._born = np.zeros(_FIRST, np.int64)
        self._step = 0
        self._said: dict[int, Value] = {}
        self._earlier = [self.detector.walks.copy(), self.detector.walks.copy()]

    @property
    def states(self) -> dict[Key, State]:
        """What is done with each signal: too few values so far, judged, or too sparse or of too long a memory."""
        detector = self.detector
        lived = self._step - self._born
        sparse = (lived >= _LEAST_STEPS) & (detector.age < _SPARSE * lived)
        unjudgeable = detector.is_unjudgeable | sparse
        return {
            key: "unjudgeable" if unjudgeable[row] else "judging" if detector.is_judging[row] else "learning"
            for key, row in self._rows.items()
        }

    @property
    def judged(self) -> int:
        """How many signals are judged."""
        return int((self.detector.is_judging & ~self.detector.is_unjudgeable).sum())

    def judges(self, key: Key) -> bool:
        """Whether a signal is judged in this rhythm."""
        row = self._rows.get(key)
        return row is not None and bool(self.detector.is_judging[row] and not self.detector.is_unjudgeable[row])

    def ask(self, steps_between: float) -> None:
        """Let the alarms of each signal be so many steps apart in the mean."""
        self.detector.ask(steps_between)

    def judge(self, signals: Mapping[Key, Value], time_seconds: float) -> list[Alarm]:
        """Judge what the signals say now; return those that call for an alarm."""
        self._admit(signals)
        values = np.full(self.detector.count, np.nan)
        self._said = {}
        for key, value in signals.items():
            row = self._rows.get(key)
            if row is not None:
                values[row], self._seen[row], self._said[row] = value.judged, self._step, value
        alarms = np.flatnonzero(self.detector.update(values, time_seconds))
        self._step += 1
        if self._step % _LOOK_STEPS == 0:
            self._earlier = [self._earlier[1], self.detector.walks.copy()]
        found = ((row, self._alarm(row)) for row in alarms.tolist())
        return [one for row, one in found if one is not None and not self._may_be_the_hour(row, one, time_seconds)]

    def _may_be_the_hour(self, row: int, alarm: Alarm, time_seconds: float) -> bool:
        """Whether what came slowly may be the time of the day, which nobody knows before two days were seen."""
        is_young = time_seconds - self.detector.began[row] < _PERIODS * self.detector.baseline.period_seconds
        return bool(is_young and alarm.since_seconds > _SUDDEN_STEPS * self.step_seconds)

    def moved(self) -> Iterator[Key]:
        """Yield the signals that are unusual now and get no less so, whether or not they call for an alarm."""
        steps = self.detector.steps_between()
        # A walk that comes down again tells of what was.
        steps[:WALKS][self.detector.walks < self._earlier[0]] = 0.0
        most = np.where(self.detector.is_unjudgeable, 0.0, steps.max(0))
        for row in np.flatnonzero(most > max(_MOVED_STEPS, _MOVED_TIMES * self.judged)).tolist():
            key = self._keys[row]
            if key is not None:
                yield key

    def settle(self, key: Key) -> None:
        """Let the walks of a signal begin anew: it is as usual again."""
        row = self._rows.get(key)
        if row is not None:
            self.detector.walks[:, row], self.detector.held[row] = 0.0, 0

    def _alarm(self, row: int) -> Alarm | None:
        key, value = self._keys[row], self._said.get(row)
        if key is None or value is None:
            return None
        steps = self.detector.steps_between()[:, row]
        which = int(steps.argmax())
        lasting = self.detector.lasting_of(row, which)
        sure = self.detector.tails.sureness(which, row) if which < WALKS else 2.0
        return Alarm(
            key, value, STATISTICS[which], lasting * self.step_seconds, float(steps[which]), sure,
            self.detector.range_of(row),
        )  # fmt: skip

    # -- rows

    def _admit(self, signals: Mapping[Key, Value]) -> None:
        new = [key for key in signals if key not in self._rows]
        if self._step % _GONE_STEPS == 0:
            self._give_back()
        if not new:
            return
        short = len(new) - len(self._free)
        if short > 0:
            self._grow(min(max(2 * self.detector.count, self.detector.count + short), MOST_SIGNALS))
        taken = [(key, self._free.pop()) for key in new if self._free]
        for key, row in taken:
            self._rows[key], self._keys[row] = row, key
            self._born[row] = self._seen[row] = self._step
            self.detector.face(row, signals[key].direction)
        self.detector.prepare()

    def _grow(self, count: int) -> None:
        more = count - self.detector.count
        self._free = [*range(count - 1, self.detector.count - 1, -1), *self._free]
        self.detector = self.detector.grown(count)
        self._earlier = [self.detector.walks.copy(), self.detector.walks.copy()]
        self._keys += [None] * more
        self._seen = np.concatenate([self._seen, np.zeros(more, np.int64)])
        self._born = np.concatenate([self._born, np.zeros(more, np.int64)])

    def _give_back(self) -> None:
        gone = [key for key, row in self._rows.items() if self._step - self._seen[row] > _GONE_STEPS]
        if not gone:
            return
        rows = [self._rows.pop(key) for key in gone]
        for row in rows:
            self._keys[row] = None
        asked = self.detector.asked[rows].copy()
        self.detector.forget(np.array(rows))
        self.detector.asked[rows] = asked
        self.detector.prepare()
        self._free += rows

    # -- what outlives the process

    def save(self, most_bytes: int) -> dict[str, Any]:
        """Return what was learnt of as many signals as fit, those first that are known for longest."""
        known = sorted(self._rows.items(), key=lambda pair: -float(self.detector.age[pair[1]]))
        saved: dict[str, Any] = {}
        for key, row in known:
            if not self.detector.is_judging[row]:
                continue
            numbers, content = packed(self.detector, row)
            text = base64.b64encode(content).decode("ascii")
            names = [key.name, [list(pair) for pair in key.attributes], key.statistic]
            most_bytes -= len(text) + len(json.dumps([names, numbers])) + len(json.dumps(key.text)) + 10
            if most_bytes < 0:
                break
            saved[key.text] = [*names, numbers, text]
        return saved

    def load(self, saved: Mapping[str, Any]) -> None:
        """
        Go on with what was learnt.

        Raises:
            ValueError: it is not what `save` returns.
        """
        found = []
        for name, attributes, statistic, numbers, text in saved.values():
            key = Key(str(name), tuple((str(one), str(two)) for one, two in attributes), str(statistic))
            found.append((key, [float(one) for one in numbers], base64.b64decode(text, validate=True)))
        fresh = Rhythm(self.step_seconds)
        fresh._admit({key: Value(0.0, 0.0, "", int(numbers[0])) for key, numbers, _ in found})
        for key, numbers, content in found:
            unpack(fresh.detector, fresh._rows[key], numbers, content)
        fresh.detector.prepare()
        self.__dict__.update(fresh.__dict__)
