"""Calls the samplers, each at its interval and within its budget, and records what they hand over."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from threading import Event
from typing import Final

from holter import words
from holter.metric import LEVELS, NO_ATTRIBUTES, Across, Attributes, AttributeValue, Kind
from holter.model import Sampler
from holter.names import METRIC, SAMPLER_INTERVAL, SAMPLER_NAME, VALUES_NONFINITE, VALUES_REFUSED
from holter.record import Outcome
from holter.scope import Scope
from holter.values import number

_LOGGER: Final = logging.getLogger("holter")
BUDGET: Final = 0.005
"""What a sampler that names no ``budget`` may take of a core."""
PATIENCE_SECONDS: Final = 5.0
LEAD_SECONDS: Final = 0.02
"""So long before an interval ends its samples are taken: at once with the collector both would wait for the GIL."""
# Of the newest sample in what one is said to cost.
_WEIGHT: Final = 0.25
# So many times what it has cost so far, or what samplers usually do, is the most that one sample is taken for.
_MOST_JUMP: Final = 4.0
_USUAL_NS: Final = 200_000
_LONGEST_WAIT_NS: Final = 1_000_000_000
_MOST_KNOWN: Final = 256
_UNKNOWN: Final[tuple[Attributes, dict[str, AttributeValue], int]] = {}, {}, 0


class SampleRecorder:
    """The ``record`` that a sampler is called with."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._cumulative: dict[int, float] = {}
        self._known: dict[tuple[str, int], tuple[Attributes, dict[str, AttributeValue], int]] = {}
        """Series by their names and the very objects that their attributes were, with what these were then."""

    def __call__(
        self,
        name: str,
        value: float,
        *,
        unit: str = "1",
        kind: Kind = "gauge",
        attributes: Attributes | None = None,
        across: Across | None = None,
    ) -> None:
        """Record one value; of a counter what it has grown since the last call."""
        scope = self._scope
        taken = value if type(value) is float else number(value)
        if taken is None:
            scope.increment(VALUES_REFUSED, "{value}", {METRIC: name})
            return
        series = self._series(name, unit, kind, attributes or NO_ATTRIBUTES, across)
        if kind in LEVELS:
            scope.ring().put(series, scope.now(), taken)
            return
        if not math.isfinite(taken):
            scope.increment(VALUES_NONFINITE, "{value}", {METRIC: name})
            return
        if kind == "counter":
            before = self._cumulative.get(series, taken)
            self._cumulative[series] = taken
            taken = taken - before if taken >= before else taken
        scope.ring().write(series, scope.now(), taken, 0, Outcome.OK)

    def _series(self, name: str, unit: str, kind: Kind, attributes: Attributes, across: Across | None) -> int:
        """Return the series; where a sampler gives the same object again, in half of the time that it takes to look."""
        key = name, id(attributes)
        given, meant, series = self._known.get(key, _UNKNOWN)
        # Another object may have come to lie there, or this one have changed.
        if given is attributes and meant == attributes:
            return series
        series = self._scope.series(name, unit, kind, attributes, across=across)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = attributes, dict(attributes), series
        return series


class _Turns:
    """When one sampler is called, and how seldom it has to be so that it stays within its budget."""

    def __init__(self, sampler: Sampler, scope: Scope, now_ns: int) -> None:
        self.name = type(sampler).__name__
        self.sampler, self.record = sampler, SampleRecorder(scope)
        self.is_of_host = bool(getattr(sampler, "whole_host", False))
        self.is_wanted = True
        self.is_away = False
        """Whether a thread is in it that does not come back."""
        self.due_ns = now_ns
        self._interval_ns = self._asked_ns = int(sampler.interval_seconds * 1e9)
        self.budget = float(getattr(sampler, "budget", BUDGET))
        self._cost_ns: float | None = None
        self._is_begun = self.is_told = False

    @property
    def interval_seconds(self) -> float:
        return self._interval_ns / 1e9

    @property
    def is_slowed(self) -> bool:
        return self._interval_ns > self._asked_ns

    @property
    def cost_seconds(self) -> float:
        return (self._cost_ns or 0.0) / 1e9

    def go_on(self, now_ns: int) -> None:
        """Be due at the next beat after *now_ns*; what was missed is not made up for."""
        self.due_ns += ((now_ns - self.due_ns) // self._interval_ns + 1) * self._interval_ns

    def took(self, cpu_ns: int) -> bool:
        """Take note of what a sample has cost; return whether the interval has changed for it."""
        if not self._is_begun:
            # The first one imports and opens what the others find there.
            self._is_begun = True
            return False
        before, was_ns = self._cost_ns, self._interval_ns
        if before is not None:
            # A collection of garbage that happens to run in this thread is not what the sampler costs.
            taken_ns = min(cpu_ns, _MOST_JUMP * max(before, _USUAL_NS))
            self._cost_ns = before + _WEIGHT * (taken_ns - before)
        else:
            self._cost_ns = cpu_ns
        wanted_ns = max(self._asked_ns, int(self._cost_ns / self.budget))
        # Not for each bit of noise.
        if wanted_ns == self._asked_ns or abs(wanted_ns - was_ns) > was_ns / 4:
            self._interval_ns = wanted_ns
        return was_ns != self._interval_ns


class Samplings:
    """
    Calls all samplers, each at its interval, in one thread that *spawn* starts.

    A sampler that takes more CPU time than its budget, a share of a core (its ``budget``, or 0.5 %), is called
    less often, and that is told. One that raises is counted and called again at its next turn. One that has not
    come back for 5 s is counted, and left alone with its thread; another one goes on with the others, and with it
    when it has come back. One that tells of the whole host is called while this process *leads* its group. One that
    has a ``close()`` is closed when all of it ends. Beats are *lead_seconds* ahead of whole intervals from now.
    """

    def __init__(
        self,
        scope: Scope,
        samplers: Iterable[Sampler],
        stopping: Event,
        spawn: Callable[[str, Callable[[], None]], None],
        leads: Callable[[], bool] = lambda: True,
        *,
        lead_seconds: float = 0.0,
    ) -> None:
        self._scope, self._stopping, self._spawn, self._leads = scope, stopping, spawn, leads
        begun_ns = scope.clock.monotonic_ns() - int(lead_seconds * 1e9)
        self._turns = [_Turns(sampler, scope, begun_ns) for sampler in samplers]
        self._cpu_ns: dict[int, int] = {}
        self._thread = 0
        self._inside: tuple[_Turns, int] | None = None
        """In which sampler the thread is, and since when."""

    @property
    def cpu_ns(self) -> int:
        """The CPU time that sampling has used."""
        return sum(self._cpu_ns.copy().values())

    def start(self) -> None:
        """Start the thread, if there is something to sample; or the next one, that leaves the last one behind."""
        if self._turns:
            self._thread += 1
            number = self._thread
            self._spawn("sampling" if number == 1 else f"sampling-{number}", lambda: self._run(number))

    def watch(self) -> None:
        """See to it that one sampler which hangs stops no other; the collector calls it at each of its turns."""
        inside, now_ns = self._inside, self._scope.clock.monotonic_ns()
        if inside is not None and now_ns - inside[1] > PATIENCE_SECONDS * 1e9:
            turns, _ = inside
            turns.is_away, self._inside = True, None
            self._scope.guard.note(
                f"sampler {turns.name}", f"it has not come back for {PATIENCE_SECONDS:g} s; the others go on"
            )
            self.start()

    def _run(self, number: int) -> None:
        """Sample until it is time to stop, or another thread has taken over; this is the thread."""
        clock, is_over = self._scope.clock, False
        try:
            while not self._stopping.is_set() and number == self._thread:
                now_ns, due = clock.monotonic_ns(), self._next()
                if due is None or due.due_ns > now_ns:
                    clock.wait(self._stopping, self._wait_ns(due, now_ns) / 1e9)
                else:
                    self._sample(due, now_ns)
                self._cpu_ns[number] = clock.thread_cpu_ns()
            is_over = True
        finally:
            # One that was strict about an error is followed by another one.
            if not is_over and number == self._thread and not self._stopping.is_set():
                self._inside = None
                self.start()
        if self._stopping.is_set() and number == self._thread:
            self._close()

    def _close(self) -> None:
        """Let the samplers close what they have open, those that can."""
        for turns in self._turns:
            close = getattr(turns.sampler, "close", None)
            if close is not None and not turns.is_away:
                self._scope.guard.run(f"sampler {turns.name} close", None, close)

    def _next(self) -> _Turns | None:
        """Return the sampler that is due next; one that this process has begun to speak for is due at once."""
        leads = self._leads()
        for turns in self._turns:
            is_wanted = leads or not turns.is_of_host
            if is_wanted and not turns.is_wanted:
                turns.due_ns = self._scope.clock.monotonic_ns()
            turns.is_wanted = is_wanted
        here = [turns for turns in self._turns if turns.is_wanted and not turns.is_away]
        return min(here, key=lambda turns: turns.due_ns, default=None)

    def _wait_ns(self, due: _Turns | None, now_ns: int) -> int:
        """Return how long to wait for the one that is *due*; who may come to speak for the host looks each second."""
        if due is not None and all(turns.is_wanted for turns in self._turns):
            return due.due_ns - now_ns
        return _LONGEST_WAIT_NS if due is None else min(due.due_ns - now_ns, _LONGEST_WAIT_NS)

    def _sample(self, turns: _Turns, now_ns: int) -> None:
        clock, guard, here = self._scope.clock, self._scope.guard, (turns, now_ns)
        turns.go_on(now_ns)
        self._inside, begun_ns = here, clock.thread_cpu_ns()
        guard.run(f"sampler {turns.name}", None, turns.sampler.sample, turns.record)
        if self._inside is here:
            self._inside = None
        turns.is_away = False
        turns.go_on(max(turns.due_ns - 1, clock.monotonic_ns()))
        if turns.took(clock.thread_cpu_ns() - begun_ns):
            self._tell(turns)

    def _tell(self, turns: _Turns) -> None:
        """Tell of a sampler that is called less often than it was asked to, or as often again."""
        turns.record(
            SAMPLER_INTERVAL, turns.interval_seconds, unit="s", attributes={SAMPLER_NAME: turns.name}, across="max"
        )
        if turns.is_slowed and not turns.is_told:
            turns.is_told = True
            what = (
                f"{turns.name} takes {turns.cost_seconds * 1e3:.2g} ms of CPU time a sample, more than its budget of "
            )
            each = f"it is called each {turns.interval_seconds:.2g} s, not each {turns.sampler.interval_seconds:g} s"
            _LOGGER.warning("holter: %s", words.clean(f"{what}{turns.budget:.2%} of a core: {each}", 500))
