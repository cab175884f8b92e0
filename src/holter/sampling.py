"""Runs one sampler and records what it hands over."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Event

from holter.metric import LEVELS, NO_ATTRIBUTES, Across, Attributes, Kind
from holter.model import Sampler
from holter.names import METRIC, VALUES_NONFINITE, VALUES_REFUSED
from holter.record import Outcome
from holter.scope import Scope
from holter.values import number


class SampleRecorder:
    """The ``record`` that a sampler is called with."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._cumulative: dict[int, float] = {}

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
        taken = number(value)
        if taken is None:
            scope.increment(VALUES_REFUSED, "{value}", {METRIC: name})
            return
        series = scope.series(name, unit, kind, attributes or NO_ATTRIBUTES, across=across)
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


class Sampling:
    """
    Calls one sampler at its interval, in a thread of its own.

    One that raises is counted and called again at its next turn; one that hangs hangs alone. One that tells of
    the whole host is called while this process *leads* its group.
    """

    def __init__(
        self, scope: Scope, sampler: Sampler, stopping: Event, leads: Callable[[], bool] = lambda: True
    ) -> None:
        self.name = type(sampler).__name__
        self.cpu_ns = 0
        self._scope, self._sampler, self._stopping = scope, sampler, stopping
        self._is_wanted = leads if getattr(sampler, "whole_host", False) else lambda: True
        self._interval_ns = int(sampler.interval_seconds * 1e9)

    def run(self) -> None:
        """Sample until it is time to stop; this is the thread."""
        clock, record = self._scope.clock, SampleRecorder(self._scope)
        due_ns = clock.monotonic_ns()
        while not self._stopping.is_set():
            if self._is_wanted():
                self._scope.guard.run(f"sampler {self.name}", None, self._sampler.sample, record)
            self.cpu_ns = clock.thread_cpu_ns()
            now_ns = clock.monotonic_ns()
            due_ns += ((now_ns - due_ns) // self._interval_ns + 1) * self._interval_ns
            clock.wait(self._stopping, (due_ns - now_ns) / 1e9)
