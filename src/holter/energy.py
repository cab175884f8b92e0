"""
The energy of GPUs shared among the calls that ran meanwhile, and how long GPUs had nothing to do while calls ran.

The rule: what the GPUs took between two readings goes to the calls by their time in flight between the two. Where all
calls together were in flight for less than the time that passed, the rest of it is nobody's. So a call that is alone
has the GPUs' mean power times its duration, and calls at the same time share it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from holter import genai, names
from holter.metric import Attributes, Series
from holter.model import Snapshot
from holter.reading import Reading
from holter.record import Outcome
from holter.scope import Scope

_MOST_MOMENTS: Final = 4_096
_MOST_POINTS: Final = 600
_WINDOW_NS: Final = 60_000_000_000
_NOTHING: Final = Reading()


class _Moment(NamedTuple):
    """How long the calls of each name have been in flight until then, in seconds."""

    time_ns: int
    lived: Mapping[str, float]


class _Point(NamedTuple):
    """What the calls of one name have come to at a reading."""

    time_ns: int
    joules: float
    tokens: float


class Energy:
    """
    Records the joules of each call's name, the joules for each output token, and GPUs' idle time while calls ran.

    Costs nothing where no GPU's energy is read, else some microseconds a series of calls. What it records is in the
    figures of the next interval. One thread calls it.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._series: Mapping[int, Series] | None = None
        self._count = 0
        self._by_name: dict[str, list[int]] = {}
        self._moments: deque[_Moment] = deque(maxlen=_MOST_MOMENTS)
        self._before: tuple[int, float] | None = None
        self._joules: dict[str, float] = defaultdict(float)
        self._points: dict[str, deque[_Point]] = defaultdict(lambda: deque(maxlen=_MOST_POINTS))

    def take(self, snapshot: Snapshot) -> None:
        """Share what has been taken since the last reading, as of *snapshot*, which tells of all processes."""
        self._scope.guard.run("energy", None, self._take, snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self._learn(snapshot)
        if not self._by_name[names.HARDWARE_ENERGY]:
            return
        self._moments.append(_Moment(snapshot.monotonic_ns, self._lived(snapshot)))
        now = self._read(snapshot)
        # Of the time before the first moment nobody knows which calls ran.
        if now is None or now[0] < self._moments[0].time_ns:
            return
        before, self._before = self._before, now
        if before is None or now[0] <= before[0]:
            self._before = before or now
            return
        seconds, joules = (now[0] - before[0]) / 1e9, max(0.0, now[1] - before[1])
        earlier, later = self._lived_at(before[0]), self._lived_at(now[0])
        busy = {name: max(0.0, lived - earlier.get(name, 0.0)) for name, lived in later.items()}
        together = sum(busy.values())
        for name, lived in busy.items():
            if lived > 0:
                self._give(name, joules * lived / max(seconds, together))
        self._tell_tokens(snapshot, now[0])
        self._tell_idle(snapshot, seconds, min(1.0, together / seconds))

    def _learn(self, snapshot: Snapshot) -> None:
        """Remember which series matter, until there are others."""
        if snapshot.series is self._series and len(snapshot.series) == self._count:
            return
        self._series, self._count = snapshot.series, len(snapshot.series)
        wanted = (
            names.HARDWARE_ENERGY,
            names.GPU_READING_AGE,
            names.GPU_UTILIZATION,
            names.CALL_DURATION,
            genai.OUTPUT_TOKENS,
        )
        self._by_name = {name: [] for name in wanted}
        for key, series in snapshot.series.items():
            if series.name in self._by_name:
                self._by_name[series.name].append(key)
        gpu = {names.HARDWARE_TYPE: "gpu"}
        of_gpus = self._by_name[names.HARDWARE_ENERGY]
        of_gpus[:] = [key for key in of_gpus if snapshot.series[key].matches(names.HARDWARE_ENERGY, gpu)]

    def _lived(self, snapshot: Snapshot) -> dict[str, float]:
        """Return how long calls have been in flight: those that ended, and those that run."""
        found = self._sums(snapshot, names.CALL_DURATION)
        for call in snapshot.open_calls:
            series = snapshot.series.get(call.series)
            if series is not None and series.name == names.CALL_DURATION:
                found[call.name] = found.get(call.name, 0.0) + call.age_seconds
        return found

    def _sums(self, snapshot: Snapshot, metric: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for key in self._by_name[metric]:
            name = str(snapshot.series[key].attributes.get(names.CALL_NAME, ""))
            found[name] = found.get(name, 0.0) + snapshot.total.get(key, _NOTHING).sum
        return found

    def _read(self, snapshot: Snapshot) -> tuple[int, float] | None:
        """Return when the GPUs were read last, and the joules that they had taken by then."""
        ages = [snapshot.total.get(key, _NOTHING) for key in self._by_name[names.GPU_READING_AGE]]
        newest = max(ages, key=lambda age: age.last_ns, default=_NOTHING)
        if newest.last is None:
            return None
        read_ns = newest.last_ns - int(newest.last * 1e9)
        return read_ns, sum(snapshot.total.get(key, _NOTHING).sum for key in self._by_name[names.HARDWARE_ENERGY])

    def _lived_at(self, time_ns: int) -> Mapping[str, float]:
        """Return how long calls had been in flight by then, on a straight line between the moments around it."""
        at = bisect_right(self._moments, time_ns, key=lambda moment: moment.time_ns)
        if at in (0, len(self._moments)):
            return self._moments[min(at, len(self._moments) - 1)].lived
        (begin_ns, begin), (end_ns, end) = self._moments[at - 1], self._moments[at]
        share = (time_ns - begin_ns) / (end_ns - begin_ns)
        return {name: begin.get(name, 0.0) + share * (lived - begin.get(name, 0.0)) for name, lived in end.items()}

    def _give(self, name: str, joules: float) -> None:
        self._joules[name] += joules
        self._add(names.CALL_ENERGY, "J", {names.CALL_NAME: name}, joules)

    def _tell_tokens(self, snapshot: Snapshot, read_ns: int) -> None:
        """Tell the joules for each token of the last minute, where any came out."""
        for name, tokens in self._sums(snapshot, genai.OUTPUT_TOKENS).items():
            points = self._points[name]
            points.append(_Point(read_ns, self._joules[name], tokens))
            while len(points) > 2 and points[1].time_ns <= read_ns - _WINDOW_NS:  # noqa: PLR2004 - one before the window
                points.popleft()
            made = tokens - points[0].tokens
            if made > 0:
                series = self._scope.series(names.LLM_TOKEN_ENERGY, "J", "gauge", {names.CALL_NAME: name})
                self._scope.ring().put(series, self._scope.now(), (self._joules[name] - points[0].joules) / made)

    def _tell_idle(self, snapshot: Snapshot, seconds: float, called: float) -> None:
        """Tell how long each GPU had nothing to do while calls ran: at least what the two shares leave no other way."""
        for key in self._by_name[names.GPU_UTILIZATION]:
            series, used = snapshot.series[key], snapshot.total.get(key, _NOTHING).last
            if used is not None and series.attributes.get(names.GPU_TASK) == "general":
                of_gpu = {name: value for name, value in series.attributes.items() if name != names.GPU_TASK}
                self._add(names.GPU_IDLE_IN_CALLS, "s", of_gpu, max(0.0, called - used) * seconds)

    def _add(self, metric: str, unit: str, attributes: Attributes, value: float) -> None:
        scope = self._scope
        scope.ring().write(scope.series(metric, unit, "counter", attributes), scope.now(), value, 0, Outcome.OK)
