"""Snapshots in the classes of OpenTelemetry's SDK: what any of its metric exporters takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as ExplicitHistogram
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from holter import distribution, names
from holter.classicbuckets import Bounds, Choice, cumulative
from holter.distribution import Histogram
from holter.figures import plain
from holter.metrichelp import metric_help
from holter.model import Process, Reading, Series, SlowCall, Snapshot
from holter.record import Outcome
from holter.sizing import spread, within
from holter.version import __version__

Temporality: TypeAlias = Literal["cumulative", "delta"]

Ids: TypeAlias = Callable[[SlowCall], tuple[int, int] | None]
"""Tells which trace and span a slow call is to be found in."""

MOST_EXEMPLARS: Final = 20
"""Of one series an export."""
MOST_BUCKETS: Final = 160
"""Of each sign, as the SDK's own exponential histograms have at most."""

_SCOPE: Final = InstrumentationScope("holter", __version__)
_TEMPORALITIES: Final = {
    "cumulative": AggregationTemporality.CUMULATIVE,
    "delta": AggregationTemporality.DELTA,
}
_Key: TypeAlias = tuple[str, str, str]
"""Name, unit and kind of a metric."""


class MetricsBuilder:
    """
    Makes the MetricsData of snapshots, one after the other.

    A histogram is exponential, with at most 160 buckets a sign, or has the bounds that *choice* says.
    What is counted and has not been read yet is part of the next ones. Where records were lost, the
    values that nobody read are distributed as those of their interval that were: from then on the
    histogram of that series is kept here, so that nothing is counted twice and no bucket shrinks.
    Slow calls of which *ids* knows a trace are exemplars, once each. Not thread-safe.
    """

    def __init__(self, temporality: Temporality, choice: Choice | None = None, ids: Ids = lambda _: None) -> None:
        self.temporality, self._choice, self._ids = temporality, choice, ids
        self._told = 0
        self._process: Process | None = None
        self._began_ns = self._lost = 0
        # Of series that have lost records: what was sent, and what is being sent.
        self._shown: dict[int, Histogram] = {}
        self._pending: tuple[int, dict[int, Histogram]] = 0, {}
        self._newest = 0

    def build(self, snapshot: Snapshot, resource: Resource) -> MetricsData:
        """Return all series of *snapshot*; with delta temporality, of counters and histograms, those that moved."""
        if snapshot.process != self._process:
            self._process, self._shown, self._lost = snapshot.process, {}, 0
            # Once: a clock that is set later must not look like a restart.
            self._began_ns = snapshot.time_ns - max(0, snapshot.monotonic_ns - snapshot.process.started_ns)
        self._pending = snapshot.lost, {}
        exemplars = self._exemplars(snapshot.slow_calls)
        points: dict[_Key, list[Any]] = {}
        firsts: dict[_Key, Series] = {}
        for series in snapshot.series.values():
            if (point := self._point(series, snapshot, exemplars.get(series.id, []))) is not None:
                key = (series.name, series.unit, series.kind)
                firsts.setdefault(key, series)
                points.setdefault(key, []).append(point)
        metrics = [self._metric(firsts[key], found) for key, found in points.items()]
        scope = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
        return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])

    def sent(self) -> None:
        """Note that what was built last has arrived; else the next one holds it too."""
        self._lost, pending = self._pending
        self._shown |= pending
        self._told = self._newest

    def _exemplars(self, calls: Iterable[SlowCall]) -> dict[int, list[Exemplar]]:
        """Return those for each series, the newest."""
        found: dict[int, list[Exemplar]] = {}
        for call in calls:
            self._newest = max(self._newest, call.number)
            ids = self._ids(call) if call.number > self._told else None
            if ids is not None:
                trace_id, span_id = ids
                one = Exemplar({}, call.seconds, call.end_ns, span_id=span_id, trace_id=trace_id)
                found[call.series] = [*found.get(call.series, [])[1 - MOST_EXEMPLARS :], one]
        return found

    def _point(self, series: Series, snapshot: Snapshot, exemplars: list[Exemplar]) -> Any:
        total, interval = snapshot.total.get(series.id), snapshot.interval.get(series.id)
        is_level = series.kind in {"gauge", "updowncounter"}
        since_before = self.temporality == "delta" and not is_level
        reading = interval if since_before else total
        if reading is None:
            return None
        common: dict[str, Any] = {
            "attributes": _attributes(series),
            "start_time_unix_nano": snapshot.time_ns - snapshot.interval_ns if since_before else self._began_ns,
            "time_unix_nano": snapshot.time_ns,
        }
        if series.kind == "histogram":
            common["exemplars"] = exemplars
            whole = self._whole(series.id, interval or Reading(), total or Reading())
            if self._choice is None:
                return _exponential(reading, within(whole, MOST_BUCKETS), common)
            return _explicit(reading, whole, self._choice.bounds(series.name, series.unit, [whole]), common)
        value = reading.last if is_level else reading.sum
        return NumberDataPoint(value=float(value), **common) if value is not None and math.isfinite(value) else None

    def _whole(self, series: int, interval: Reading, total: Reading) -> Histogram:
        """Return the histogram to send."""
        fresh, held, shown = _held(interval), _held(total), self._shown.get(series)
        counted = total.count - held.nonfinite
        has_lost = self._pending[0] > self._lost
        if shown is None:
            missing = counted - held.count
            if missing <= 0 or not has_lost:
                return fresh if self.temporality == "delta" else held
            before, more = held, spread(_sample(fresh, held, total), missing)
            added = fresh.merge(more)
        else:
            before = shown
            room = max(0, counted - shown.count)
            number = room if has_lost else min(room, fresh.count)
            if number <= fresh.count:
                added = more = spread(fresh, number) if number < fresh.count else fresh
            else:
                added = more = fresh.merge(spread(_sample(fresh, held, total), number - fresh.count))
        after = self._pending[1][series] = before.merge(more)
        return added if self.temporality == "delta" else after

    def _metric(self, series: Series, points: list[Any]) -> Metric:
        temporality = _TEMPORALITIES[self.temporality]
        data: Sum | Gauge | ExponentialHistogram | ExplicitHistogram
        if series.kind == "histogram":
            histogram = ExponentialHistogram if self._choice is None else ExplicitHistogram
            data = histogram(points, temporality)
        elif series.kind == "counter":
            data = Sum(points, temporality, is_monotonic=True)
        elif series.kind == "updowncounter":
            data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=False)
        else:
            data = Gauge(points)
        return Metric(name=plain(series.name), description=metric_help(series), unit=plain(series.unit), data=data)


def _held(reading: Reading) -> Histogram:
    return reading.histogram if isinstance(reading.histogram, Histogram) else Histogram()


def _sample(fresh: Histogram, held: Histogram, total: Reading) -> Histogram:
    """Return what lost values are distributed as: those of the interval, else all, else their mean."""
    return next((one for one in (fresh, held) if one.count), None) or Histogram.of([total.sum / total.count])


def _attributes(series: Series) -> dict[str, Any]:
    attributes: dict[str, Any] = plain(series.attributes)
    if series.name == names.CALL_DURATION:
        attributes.setdefault(names.CALL_OUTCOME, Outcome.OK.label)
    return attributes


def _exponential(reading: Reading, fitted: Histogram, common: Mapping[str, Any]) -> ExponentialHistogramDataPoint:
    return ExponentialHistogramDataPoint(
        scale=fitted.scale,
        zero_count=fitted.zero_count,
        positive=_buckets(fitted.positive),
        negative=_buckets(fitted.negative),
        flags=0,
        **_summary(reading, fitted.count),
        **common,
    )


def _explicit(reading: Reading, whole: Histogram, bounds: Bounds, common: Mapping[str, Any]) -> HistogramDataPoint:
    count = whole.count
    counts = np.diff(cumulative(bounds, whole), prepend=0, append=count)
    return HistogramDataPoint(
        bucket_counts=counts.tolist(), explicit_bounds=bounds, **_summary(reading, count), **common
    )


def _summary(reading: Reading, count: int) -> dict[str, Any]:
    # The SDK's exporters leave out on the wire what is None, which its types do not admit.
    return {
        "count": count,
        "sum": reading.sum if math.isfinite(reading.sum) else 0.0,
        "min": _finite(reading.minimum),
        "max": _finite(reading.maximum),
    }


def _buckets(side: distribution.Buckets) -> Buckets:
    return Buckets(offset=side.offset, bucket_counts=side.counts.tolist())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
