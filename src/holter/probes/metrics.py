"""Single figures that user code records: counters, gauges, histograms."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from holter.forkword import IS_OURS
from holter.names import METRIC, VALUES_NONFINITE, VALUES_REFUSED
from holter.recorder import current_ident
from holter.ring import NATIVE
from holter.scope import Scope
from holter.values import number

_BEYOND: Final = 1e300
_EXPECTED: Final = "a Python or numpy number (of a tensor, its .item()), of a counter none below 0"


class _Metric:
    """What the three kinds share: a series, and what happens to a value that is no plain number."""

    __slots__ = ("_attach", "_name", "_now", "_rings", "_scope", "_series")

    def __init__(self, scope: Scope, series: int) -> None:
        self._scope, self._series = scope, series
        self._name = scope.table[series].name
        self._rings, self._attach, self._now = scope.recorder.rings.get, scope.recorder.lookup, scope.now

    def _write(self, value: float) -> None:
        ring = self._rings(IS_OURS[0] and current_ident()) or self._attach()
        ring.write(self._series, self._now(), value, 0, 0)

    def _write_unless(self, value: float | None, *, refused: bool = False) -> None:
        """Write what only seemed unusual, and count the rest: what is no number, and what would spoil a sum."""
        if value is None or refused:
            self._scope.increment(VALUES_REFUSED, "{value}", {METRIC: self._name})
            self._scope.guard.refused(self._name, _EXPECTED)
        elif isfinite(value):
            self._write(value)
        else:
            self._scope.increment(VALUES_NONFINITE, "{value}", {METRIC: self._name})


class Counter(_Metric):
    """
    A sum that only grows.

    From any thread, at the cost of a record; nothing is raised. What is not a number is counted
    in ``holter.values.refused``, what is not finite in ``holter.values.nonfinite``.
    """

    __slots__ = ()

    def add(self, amount: float = 1) -> None:
        """Add *amount*, a finite number that is not negative; anything else is counted as refused."""
        kind = type(amount)
        if (kind is float or kind is int) and 0 <= amount < _BEYOND:
            self._write(amount)
        else:
            value = number(amount)
            self._write_unless(value, refused=value is not None and value < 0)


class Gauge(_Metric):
    """
    A value that goes up and down.

    From any thread, at the cost of a record; nothing is raised. What is not a number is counted
    in ``holter.values.refused``; one that is not finite is the gauge's value until the next.
    """

    __slots__ = ()

    def set(self, value: float) -> None:
        """Note that the value is *value* from now on."""
        taken = value if type(value) is float else number(value)
        if taken is None:
            self._write_unless(None)
        else:
            ring = self._rings(IS_OURS[0] and current_ident()) or self._attach()
            ring.put(self._series, self._now(), taken)


class Histogram(_Metric):
    """
    A distribution of values.

    From any thread, at the cost of a record; nothing is raised. What is not a number is counted
    in ``holter.values.refused``, what is not finite in ``holter.values.nonfinite``.
    """

    __slots__ = ()

    def record(self, value: float) -> None:
        """Take in one *value*, in the unit that the histogram was made with."""
        kind = type(value)
        if (kind is float or kind is int) and -_BEYOND < value < _BEYOND:
            self._write(value)
        else:
            self._write_unless(number(value))


def counter_of(scope: Scope, series: int) -> Counter:
    """Return the counter of *series*, in C where that is there."""
    counter = Counter(scope, series)
    return counter if NATIVE is None else _in_c(NATIVE.Counter, scope, series, counter.add)


def gauge_of(scope: Scope, series: int) -> Gauge:
    """Return the gauge of *series*, in C where that is there."""
    gauge = Gauge(scope, series)
    return gauge if NATIVE is None else _in_c(NATIVE.Gauge, scope, series, gauge.set)


def histogram_of(scope: Scope, series: int) -> Histogram:
    """Return the histogram of *series*, in C where that is there."""
    histogram = Histogram(scope, series)
    return histogram if NATIVE is None else _in_c(NATIVE.Histogram, scope, series, histogram.record)


def _in_c(kind: Any, scope: Scope, series: int, unusual: Any) -> Any:
    """Return the figure in C, which leaves to *unusual* what is no plain number."""
    return kind(series=series, lookup=scope.recorder.lookup, clock=scope.own_clock, unusual=unusual)
