"""What a series has seen: readings, which merge, and the statistics told from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from holter.metric import Kind


class Distribution(Protocol):
    """What a reading asks of a histogram."""

    @property
    def count(self) -> int:
        """How many finite values it holds."""

    def merge(self, other: Any) -> Self:
        """Return the histogram of both sets of values."""

    def quantile(self, q: float) -> float:
        """Return the value below which the share *q* (0 to 1) of the values lies."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What one series has seen, in the unit of the series.

    ``count`` and ``sum`` are exact (of a counter ``sum`` is its value); ``units`` is the work
    done. The others come from records and are a sample where records were lost: ``histogram``
    tells by its own count how many of the values it holds. ``first`` and ``last`` are the values
    at ``first_ns`` and ``last_ns`` on the monotonic clock. What is not known is None.

    >>> Reading(count=2, sum=3.0).merge(Reading(count=1, sum=4.0)).sum
    7.0
    """

    count: int = 0
    sum: float = 0.0
    units: int = 0
    minimum: float | None = None
    maximum: float | None = None
    last: float | None = None
    histogram: Distribution | None = None
    first: float | None = None
    first_ns: int = 0
    last_ns: int = 0

    def counting(self, count: int, sum: float, units: int) -> Reading:  # noqa: A002 - as the field is called
        """Return the same values with these counts; a fifth of what ``dataclasses.replace`` costs."""
        return Reading(
            count, sum, units, self.minimum, self.maximum, self.last, self.histogram, self.first, self.first_ns,
            self.last_ns,
        )  # fmt: skip

    def merge(self, other: Reading) -> Reading:
        """Return the reading of both, whichever came first; another series or another interval."""
        if not other.count and other.last is None:
            return self
        if not self.count and self.last is None:
            return other
        opening, closing = _in_order(self, other)
        return Reading(
            count=self.count + other.count,
            sum=self.sum + other.sum,
            units=self.units + other.units,
            minimum=_choose(min, self.minimum, other.minimum),
            maximum=_choose(max, self.maximum, other.maximum),
            last=closing.last,
            histogram=_merged(self.histogram, other.histogram),
            first=opening.first,
            first_ns=opening.first_ns,
            last_ns=closing.last_ns,
        )


def _in_order(one: Reading, other: Reading) -> tuple[Reading, Reading]:
    """Return the reading that opened first, and the one that closed last, among those with values."""
    if one.last is None or other.last is None:
        return (one, one) if other.last is None else (other, other)
    opening = one if one.first_ns <= other.first_ns else other
    return opening, one if one.last_ns >= other.last_ns else other


def _choose(pick: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return pick(one, other)


def _merged(one: Distribution | None, other: Distribution | None) -> Distribution | None:
    if one is None or other is None:
        return one if other is None else other
    return one.merge(other)


STATISTICS = ("rate", "mean", "max", "error_ratio", "last", "range", "change", "missing")
"""The statistics by name; besides them quantiles: "p50", "p99", "p99.9"."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """
    What can be said of one target over one stretch of time.

    ``total`` is the target's reading since recording began; ``interval`` the one of this
    stretch, ``failed`` the part of it that ended in an error or a timeout. Stretches that
    follow each other merge.

    >>> import holter
    >>> holter.gauge("room.temperature").set(21.5)
    >>> holter.snapshot().find("room.temperature").value("last")
    21.5
    """

    kind: Kind
    seconds: float
    interval: Reading
    total: Reading
    failed: int
    missing_seconds: float

    def then(self, later: Statistics) -> Statistics:
        """Return the statistics of this stretch and the *later* one together."""
        return Statistics(
            kind=later.kind,
            seconds=self.seconds + later.seconds,
            interval=self.interval.merge(later.interval),
            total=later.total,
            failed=self.failed + later.failed,
            missing_seconds=later.missing_seconds,
        )

    def value(self, statistic: str) -> float | None:
        """
        Return the named statistic of this stretch, or None where there is nothing to tell.

        "rate" is the counter's growth, else the number of values, a second; "last" the newest
        value (of a counter its total); "range" the largest minus the smallest value, "change"
        the last minus the first; "missing" the seconds since the target was last recorded.
        """
        reading = self.interval
        if statistic == "missing":
            return self.missing_seconds
        if statistic == "rate":
            grown = reading.sum if self.kind == "counter" else reading.count
            return grown / self.seconds if self.seconds > 0 else None
        if statistic == "last":
            return self.total.sum if self.kind == "counter" else reading.last
        if not reading.count:
            return None
        if statistic == "mean":
            return reading.sum / reading.count
        if statistic == "max":
            return reading.maximum
        if statistic == "error_ratio":
            return self.failed / reading.count
        return self._spread(statistic)

    def _spread(self, statistic: str) -> float | None:
        reading = self.interval
        if statistic == "range":
            if reading.maximum is None or reading.minimum is None:
                return None
            return reading.maximum - reading.minimum
        if statistic == "change":
            return None if reading.last is None or reading.first is None else reading.last - reading.first
        if reading.histogram is None or not reading.histogram.count:
            return None
        return reading.histogram.quantile(float(statistic.removeprefix("p")) / 100)
