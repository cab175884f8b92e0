"""What holter costs: calibrated for each kind of record, times records, plus its own threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Iterable
from functools import cache
from typing import Final, NamedTuple

from holter import names
from holter.clock import Clock
from holter.model import Series
from holter.probe import CallProbe
from holter.probes.blocks import Spans
from holter.probes.calls import watch_function
from holter.probes.metrics import counter_of
from holter.recorder import Recorder
from holter.ring import NATIVE
from holter.scope import Scope

Counts = Iterable[tuple[Series, int]]


class Weights(NamedTuple):
    """
    What a record on a longer path costs, in watched calls that just return; the last three on top of one.

    Measured, in loops and in programs, on Python 3.11 to 3.13: calibrating all of them would make each start
    as long again.
    """

    item: float
    coroutine: float
    tagged: float
    not_ok: float
    failed: float


# Tags, outcomes and errors are in Python either way, and their calls are in C a tenth.
_WEIGHTS: Final = Weights(1.8, 2.2, 1.2, 2.5, 5.5) if NATIVE is None else Weights(0.95, 6.5, 26.0, 57.0, 110.0)
_ITEMS: Final = (names.STREAM_FIRST_ITEM, names.STREAM_BETWEEN_ITEMS)
_SPANS: Final = (names.SPAN_DURATION, names.TRAINING_PHASE_DURATION)

_ROUNDS: Final = 5
_CALLS_A_ROUND: Final = 200
# On a busy machine the wall clock runs on while others have the CPU; Windows counts CPU time by its ticks.
_now_ns = time.perf_counter_ns if sys.platform == "win32" else time.thread_time_ns


class Costs(NamedTuple):
    """Nanoseconds that one record costs the thread which writes it."""

    call: float
    span: float
    value: float


@cache
def calibrate() -> Costs:
    """Return what records cost here and now, measured on a ring that nobody reads; some 5 ms, once a process."""
    scope = Scope(recorder=Recorder())

    def nothing() -> None:
        pass

    probe = CallProbe(scope, "calibration")
    spans, counter = Spans(scope), counter_of(scope, scope.series("calibration", "1", "counter"))

    def span() -> None:
        with spans.open("calibration"):
            pass

    def count() -> None:
        counter.add(1)

    bare, value = _cost_of(nothing), _cost_of(count)
    call, call_with_span = (_cost_of(watch_function(function, probe)) for function in (nothing, span))
    return Costs(*(max(0.0, cost) for cost in (call - bare, call_with_span - call, value - bare)))


def _cost_of(function: Callable[[], None]) -> float:
    """Return the nanoseconds of one call: the median of some short rounds, because others disturb a few of them."""
    rounds = []
    for _ in range(_ROUNDS):
        begun_ns = _now_ns()
        for _ in range(_CALLS_A_ROUND):
            function()
        rounds.append((_now_ns() - begun_ns) / _CALLS_A_ROUND)
    return sorted(rounds)[_ROUNDS // 2]


class Ledger:
    """
    The CPU time that a monitor costs, as a share of what the process uses from now on.

    ``collector_ns`` is what its collector has used, ``readings_ns`` what other threads have in order to read
    its figures. *coroutines* are the calls that are some. The records that *counts* tells of were made before.
    """

    def __init__(self, clock: Clock, coroutines: Container[int], counts: Counts) -> None:
        self.collector_ns = self.readings_ns = 0
        self.share: float | None = None
        self._clock, self._coroutines = clock, coroutines
        self._records_ns, self._process_ns = self._cost_of(counts), clock.process_cpu_ns()

    def close(self, counts: Counts, threads_ns: int) -> None:
        """Work out the ``share``, now that *counts* tells of all records, and other threads have used *threads_ns*."""
        own_ns = self._cost_of(counts) - self._records_ns + self.collector_ns + self.readings_ns + threads_ns
        used_ns = self._clock.process_cpu_ns() - self._process_ns
        if used_ns > 0:
            self.share = min(1.0, own_ns / used_ns)

    def _cost_of(self, counts: Counts) -> float:
        """Return the nanoseconds that threads have spent on this many records of each series."""
        costs = calibrate()
        return sum(count * _of(series, costs, self._coroutines) for series, count in counts)


def _of(series: Series, costs: Costs, coroutines: Container[int]) -> float:
    """Return the nanoseconds of one record of *series*."""
    if series.name in _ITEMS:
        return costs.call * _WEIGHTS.item
    if series.name != names.CALL_DURATION:
        return costs.span if series.name in _SPANS else costs.value
    root = series.id if series.parent is None else series.parent
    calls = _WEIGHTS.coroutine if root in coroutines else 1.0
    if names.ERROR_TYPE in series.attributes:
        calls += _WEIGHTS.failed
    elif names.CALL_OUTCOME in series.attributes:
        calls += _WEIGHTS.not_ok
    elif series.parent is not None:
        calls += _WEIGHTS.tagged
    return costs.call * calls
