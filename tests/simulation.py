"""A made-up service: the snapshots of a program whose calls, stages and troubles a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from holter.distribution import Histogram
from holter.model import AttributeValue, Kind, OpenCall, Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME, ERROR_TYPE, SPAN_DURATION, SPAN_NAME

START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


class World:
    """
    Collects values of named series and gives a snapshot of all of them for each interval.

    Without *totals* the snapshots have intervals only, which is faster.
    """

    def __init__(self, seconds: float = 1.0, process: Process | None = None, *, totals: bool = True) -> None:
        self.has_totals = totals
        self.interval_ns = int(seconds * SECOND_NS)
        self.process = process or Process(service="sentiment", version="v7", pid=4121, host="gpu-3")
        self.time_ns = 0
        self.series: dict[int, Series] = {}
        self.total: dict[int, Reading] = {}
        self._interval: dict[int, Reading] = {}
        self._ids: dict[object, int] = {}

    def one(
        self,
        name: str,
        kind: Kind = "histogram",
        unit: str = "s",
        parent: int | None = None,
        **attributes: AttributeValue,
    ) -> int:
        """Return the id of a series; double underscores in attribute names stand for dots."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        key = (name, tuple(sorted(named.items())))
        if key not in self._ids:
            self._ids[key] = len(self._ids) + 1
            series = Series(self._ids[key], name, unit, kind, named, parent)
            self.series = {**self.series, series.id: series}
        return self._ids[key]

    def values(self, series: int, values: object, units: int = 0) -> None:
        """Record *values* of a histogram or a gauge."""
        array = np.asarray(values, float).ravel()
        if not len(array):
            return
        now = self.time_ns + self.interval_ns
        histogram = Histogram.of(array) if self.series[series].kind == "histogram" else None
        self._take(
            series,
            Reading(
                len(array), float(array.sum()), units, float(array.min()), float(array.max()), float(array[-1]),
                histogram, float(array[0]), now, now,
            ),
        )  # fmt: skip

    def grow(self, series: int, amount: float) -> None:
        """Let a counter grow by *amount*."""
        self._take(series, Reading(count=1, sum=amount))

    def call(self, name: str, durations: object, error: str | None = None, units: int = 0) -> None:
        """Record calls that took so many seconds each, all ended well or all by the same type of error."""
        self._timed(CALL_DURATION, {CALL_NAME: name}, durations, error, units)

    def span(self, call: str, name: str, durations: object, error: str | None = None) -> None:
        """Record a stage of a call."""
        self._timed(SPAN_DURATION, {CALL_NAME: call, SPAN_NAME: name}, durations, error, 0)

    def _timed(
        self, metric: str, attributes: Mapping[str, str], durations: object, error: str | None, units: int
    ) -> None:
        series = self.one(metric, **attributes)
        if error:
            outcome = "timeout" if error == "TimeoutError" else "error"
            series = self.one(metric, parent=series, **attributes, **{CALL_OUTCOME: outcome, ERROR_TYPE: error})
        self.values(series, durations, units)

    def _take(self, series: int, reading: Reading) -> None:
        for place in (self._interval, self.total) if self.has_totals else (self._interval,):
            place[series] = place[series].merge(reading) if series in place else reading

    def snapshot(self, **more: object) -> Snapshot:
        """End the interval and return its snapshot."""
        self.time_ns += self.interval_ns
        interval, self._interval = self._interval, {}
        return Snapshot(
            time_ns=START_NS + self.time_ns,
            interval_ns=self.interval_ns,
            series=self.series,
            total=dict(self.total),
            interval=interval,
            process=self.process,
            monotonic_ns=self.time_ns,
            **more,
        )


@dataclass
class Service:
    """
    What one watched call does in an interval; a test changes the fields to make trouble.

    *stages* maps a stage to its mean seconds; all durations scatter log-normally by *scatter*.
    """

    rate: float = 100.0
    stages: dict[str, float] = field(default_factory=lambda: {"tokenize": 0.001, "forward": 0.004})
    outside: float = 0.0005
    scatter: float = 0.5
    errors: float = 0.0
    error_type: str = "ValueError"
    error_stage: str = "tokenize"
    error_cost: float = 1.0


def run(
    seed: int,
    intervals: int,
    trouble: Callable[[int, Service], None] = lambda _index, _service: None,
    *,
    service: Service | None = None,
    name: str = "predict",
) -> Iterator[Snapshot]:
    """Yield the snapshots of a service in which *trouble* may change something before each interval."""
    random = np.random.default_rng(seed)
    service = service or Service()
    world = World(totals=False)
    for index in range(intervals):
        trouble(index, service)
        count = int(random.poisson(service.rate))
        failed = int(random.binomial(count, service.errors))
        for error, number in ((None, count - failed), (service.error_type, failed)):
            total = service.outside * np.ones(number)
            for stage, mean in service.stages.items():
                cost = service.error_cost if error and stage == service.error_stage else 1.0
                took = mean * cost * random.lognormal(-(service.scatter**2) / 2, service.scatter, number)
                total = total + took
                world.span(name, stage, took, error if stage == service.error_stage else None)
                if error and stage == service.error_stage:
                    break
            world.call(name, total, error)
        yield world.snapshot()


def open_call(name: str, age_seconds: float) -> OpenCall:
    """Return a call that has been running for so long."""
    return OpenCall(name, 0, 0, age_seconds, 1)
