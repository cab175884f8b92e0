"""What does not come: the next step of a training run that is open, the next call of what is called again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from holter.hung import Still
from holter.metric import Attributes
from holter.model import Series, Snapshot
from holter.names import TRAINING_NAME, TRAINING_RANK, TRAINING_STEPS_DONE
from holter.usual import Allowance, Limit, Usuals, is_step
from holter.words import count, duration

PAUSE_TIMES: Final = 2.0
"""So many times as long as the longest pause before may one be."""


@dataclass(slots=True)
class _Pulse:
    """When something went on last, on the monotonic clock, and its longest pause; to the interval."""

    last_ns: int
    longest_seconds: float = 0.0
    thread: int = 0

    def look(self, snapshot: Snapshot, *, goes_on: bool) -> float:
        """Return for how long it has not gone on by *snapshot*."""
        if not goes_on:
            return max(0.0, (snapshot.monotonic_ns - self.last_ns) / 1e9)
        pause_ns = snapshot.monotonic_ns - snapshot.interval_ns - self.last_ns
        self.longest_seconds = max(self.longest_seconds, pause_ns / 1e9)
        self.last_ns = snapshot.monotonic_ns
        return 0.0


class MissingSteps:
    """
    Tells of which training runs that *is_judged* no step comes, though the run is open and none is in flight.

    Evaluations and checkpoints lie between steps: the pause may be twice as long as the longest one before.
    """

    def __init__(self, allowance: Allowance, is_judged: Callable[[Series], bool]) -> None:
        self._allowance, self._is_judged = allowance, is_judged
        self._usuals = Usuals()
        self._pulses: dict[int, _Pulse] = {}

    def look(self, snapshot: Snapshot) -> Iterator[Still]:
        """Yield what is known of each such run."""
        # How far a run has come is read each interval while it is open.
        running = [
            _run(series.attributes)
            for key in snapshot.interval
            if (series := snapshot.series[key]).name == TRAINING_STEPS_DONE
        ]
        if not running:
            self._pulses.clear()
            return
        moved = {snapshot.series[key].parent or key for key in snapshot.interval}
        in_flight = {call.series: call.thread for call in snapshot.open_calls}
        roots = [
            one for one in snapshot.series.values() if is_step(one) and one.parent is None and self._is_judged(one)
        ]
        pulses, self._pulses = self._pulses, {}
        for series in roots:
            if _run(series.attributes) not in running:
                continue
            pulse = self._pulses[series.id] = pulses.get(series.id) or _Pulse(snapshot.monotonic_ns)
            pulse.thread = in_flight.get(series.id, pulse.thread)
            seconds = pulse.look(snapshot, goes_on=series.id in moved or series.id in in_flight)
            if seconds > self._allowance.least_seconds:
                self._usuals.see(snapshot)
                limit = self._limit(series, pulse)
                if seconds > limit.seconds:
                    name = str(series.attributes.get(TRAINING_NAME, series.name))
                    yield Still(series.id, name, "pause", seconds, limit, thread=pulse.thread)

    def _limit(self, series: Series, pulse: _Pulse) -> Limit:
        limit = self._allowance.limit(self._usuals.of(series), "step", is_training=True)
        paused = PAUSE_TIMES * pulse.longest_seconds
        if self._allowance.after_seconds is None and paused > limit.seconds:
            return Limit(paused, f"the longest pause before was {duration(pulse.longest_seconds)}")
        return limit


def _run(attributes: Attributes) -> tuple[object, object]:
    return attributes.get(TRAINING_NAME), attributes.get(TRAINING_RANK)


@dataclass(slots=True)
class Silence:
    """
    Tells when no call that *is_judged* has begun or ended for *silent_seconds*.

    Where that is None, for much longer than usual: ten times the mean time between calls (*allowance* names the
    factor), and twice the longest pause, and its grace, once it has seen enough calls.
    """

    allowance: Allowance
    is_judged: Callable[[Series], bool]
    name: str
    silent_seconds: float | None
    _pulse: _Pulse | None = None
    _began_ns: int = 0
    _calls: int = field(default=0)

    def look(self, snapshot: Snapshot) -> Iterator[Still]:
        """Yield what is known, if it is silent."""
        if self._pulse is None:
            self._began_ns = snapshot.monotonic_ns - snapshot.interval_ns
            self._pulse = _Pulse(self._began_ns)
        ended = sum(reading.count for key, reading in snapshot.interval.items() if self.is_judged(snapshot.series[key]))
        in_flight = any(self.is_judged(snapshot.series[call.series]) for call in snapshot.open_calls)
        seconds = self._pulse.look(snapshot, goes_on=bool(ended) or in_flight)
        self._calls += ended
        limit = self._limit(snapshot, seconds)
        if limit is not None and seconds > limit.seconds:
            yield Still(0, self.name, "silence", seconds, limit)

    def _limit(self, snapshot: Snapshot, seconds: float) -> Limit | None:
        if self.silent_seconds is not None:
            return Limit(self.silent_seconds, f"the limit is {duration(self.silent_seconds)}")
        if self._pulse is None or self._calls < self.allowance.minimum_calls:
            return None
        gap = ((snapshot.monotonic_ns - self._began_ns) / 1e9 - seconds) / self._calls
        longest, usual = PAUSE_TIMES * self._pulse.longest_seconds, self.allowance.factor * gap
        limit = max(self.allowance.grace_seconds, usual, longest)
        if limit == longest:
            return Limit(limit, f"the longest pause before was {duration(self._pulse.longest_seconds)}")
        return Limit(limit, f"there were {count(self._calls, 'call')}, one each {duration(gap)}")
