"""Snapshots as Prometheus reads them: metric families of prometheus_client, and the page that holds them."""

from __future__ import annotations

import gzip
import math
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample

from holter.classicbuckets import Choice, Tally, Wanted, spoken
from holter.distribution import Histogram
from holter.metric import Kind
from holter.metrichelp import metric_help
from holter.model import Alert, Process, Reading, Series, SlowCall, Snapshot
from holter.pageserver import Answer, in_words
from holter.promnames import ALERTS_FIRING, INFO, Family, families, label_value, labels, series_labels

Source: TypeAlias = Callable[[], tuple[Snapshot | None, Iterable[Alert]]]
"""Gives the newest snapshot, if there is one, and the alerts in their latest state."""

_FRESH: Final = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}
_LONGEST_HEADER: Final = 1_000
_MOST_ALERTS: Final = 100
_MOST_PAGES: Final = 8
_VERSIONS: Final = ("0.0.4", "1.0.0")
_QUICK: Final = 1
"""How hard gzip tries: pages of metrics shrink to a twentieth at once, and little further for five times the time."""


@dataclass(slots=True)
class _Line:
    """One set of labels, and the series that have it: more than one where their attributes differ and labels do not."""

    labels: dict[str, str]
    series: list[int]
    tally: Tally = field(default_factory=Tally)


class SnapshotCollector:
    """
    Yields the newest snapshot of *source* as metric families; for a registry of prometheus_client.

    Counters and the counts of buckets never fall while the process lives. Costs about 1 us a series, 35 us
    a histogram; prometheus_client takes 70 us more to write one down. Thread-safe; a forked child begins anew.
    """

    def __init__(self, source: Source, buckets: Wanted = None) -> None:
        self._source, self._wanted = source, buckets
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock, self._choice = os.getpid(), threading.Lock(), Choice(self._wanted)
        self._known: Mapping[int, Series] | None = None
        self._families: list[tuple[Family, Series, list[_Line]]] = []
        self._lines: dict[tuple[Family, tuple[tuple[str, str], ...]], _Line] = {}
        self._slow: dict[int, list[SlowCall]] = {}

    def describe(self) -> Sequence[Metric]:
        """Return nothing: which metrics there will be is not known before they are recorded."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield a family a metric, ``holter_info`` first."""
        yield from self.read(*self._source())

    def read(self, snapshot: Snapshot | None, alerts: Iterable[Alert]) -> list[Metric]:
        """Return the families of *snapshot* and *alerts*."""
        if snapshot is None:
            return []
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if snapshot.series is not self._known:
                self._learn(snapshot.series)
            self._slow = _by_series(snapshot.slow_calls)
            found = [_info(snapshot.process), *(self._metric(*each, snapshot.total) for each in self._families)]
        return [metric for metric in (*found, _alerts(alerts)) if metric.samples]

    def _learn(self, series: Mapping[int, Series]) -> None:
        named = families(series.values())
        grouped: dict[tuple[str, str, Kind], dict[tuple[tuple[str, str], ...], _Line]] = {}
        for one in series.values():
            key = one.name, one.unit, one.kind
            marks = series_labels(one)
            name = named[key], tuple(marks.items())
            line = grouped.setdefault(key, {}).get(name[1])
            if line is None:
                tally = self._lines[name].tally if name in self._lines else Tally()
                line = self._lines[name] = grouped[key][name[1]] = _Line(marks, [], tally)
            line.series.append(one.id)
        self._families = [
            (named[key], series[next(iter(lines.values())).series[0]], list(lines.values()))
            for key, lines in grouped.items()
        ]
        self._known = series

    def _metric(self, family: Family, first: Series, lines: list[_Line], total: Mapping[int, Reading]) -> Metric:
        # A bare Metric, because the families of prometheus_client want the same labels in all their samples.
        metric = Metric(family.name, metric_help(first), family.type, family.unit)
        readings = [(line, _merged(total.get(key) for key in line.series)) for line in lines]
        seen = [(line, reading) for line, reading in readings if reading is not None]
        if family.type == "histogram":
            self._add_histograms(metric, first, seen)
            return metric
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        for line, reading in seen:
            value = reading.sum if family.type == "counter" else reading.last
            if value is not None and not (family.type == "counter" and math.isnan(value)):
                metric.samples.append(Sample(metric.name + suffix, line.labels, float(value)))
        return metric

    def _add_histograms(self, metric: Metric, first: Series, seen: list[tuple[_Line, Reading]]) -> None:
        held = [reading.histogram if isinstance(reading.histogram, Histogram) else Histogram() for _, reading in seen]
        bounds = self._choice.bounds(first.name, first.unit, held)
        spellings = [spoken(bound) for bound in bounds]
        for (line, reading), histogram in zip(seen, held, strict=True):
            counts = line.tally.counts(bounds, histogram, reading.count, reading.sum)
            exemplars = _exemplars(bounds, (call for key in line.series for call in self._slow.get(key, ())))
            for place, (le, count) in enumerate(zip((*spellings, "+Inf"), (*counts, reading.count), strict=True)):
                marks = {**line.labels, "le": le}
                metric.samples.append(Sample(f"{metric.name}_bucket", marks, count, None, exemplars.get(place)))
            # A sum that has negative values in it falls, which no counter does; readers want both or none.
            if min(*bounds[:1], reading.minimum or 0.0, 0.0) >= 0 and not math.isnan(reading.sum):
                metric.samples.append(Sample(f"{metric.name}_sum", line.labels, reading.sum))
                metric.samples.append(Sample(f"{metric.name}_count", line.labels, reading.count))


class Exposition:
    """
    The page of metrics of *source* in the form that a request asks for.

    A page is rendered at the first request after a snapshot was taken, and kept until the next one, in at most 8
    forms. Thread-safe; a forked child begins anew.
    """

    def __init__(self, source: Source, buckets: Wanted = None) -> None:
        self._source, self._wanted = source, buckets
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._pages: dict[tuple[str, bool], bytes] = {}
        self._newest: tuple[Snapshot | None, list[Alert]] = None, []
        self._collector = SnapshotCollector(lambda: self._newest, self._wanted)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._collector)

    def answer(self, method: str, accept: str = "", accept_encoding: str = "") -> Answer:
        """Return what a request with this method and these headers gets."""
        if method not in ("GET", "HEAD"):
            return in_words(405, f"expected GET or HEAD, got {label_value(method):.20}", Allow="GET, HEAD")
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            snapshot, alerts = self._source()
            if snapshot is None:
                return in_words(503, "no snapshot yet: holter.start(...) takes the first one after an interval")
            told = list(alerts)
            if snapshot is not self._newest[0] or told != self._newest[1]:
                self._pages, self._newest = {}, (snapshot, told)
            return self._page(accept[:_LONGEST_HEADER], is_zipped=_accepts_gzip(accept_encoding[:_LONGEST_HEADER]))

    def _page(self, accept: str, *, is_zipped: bool) -> Answer:
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # It compares versions that are none.
            encode, content_type = choose_encoder("")
        if not any(f"version={version};" in f"{content_type};" for version in _VERSIONS):
            # It claims any version that it is asked for.
            encode, content_type = choose_encoder("")
        page = self._pages.get((content_type, is_zipped))
        if page is None:
            page = self._pages.get((content_type, False)) or encode(self._registry)
            if len(self._pages) < _MOST_PAGES:
                self._pages[content_type, False] = page
            if is_zipped:
                page = gzip.compress(page, _QUICK, mtime=0)
                if len(self._pages) < _MOST_PAGES:
                    self._pages[content_type, True] = page
        zipped = {"Content-Encoding": "gzip"} if is_zipped else {}
        return Answer(200, {"Content-Type": content_type, **_FRESH, **zipped}, page)


def _accepts_gzip(accept_encoding: str) -> bool:
    for one in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in one.split(";"))
        if coding == "gzip":
            return not any(part.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for part in parameters)
    return False


def _by_series(calls: Iterable[SlowCall]) -> dict[int, list[SlowCall]]:
    found: dict[int, list[SlowCall]] = {}
    for call in calls:
        if call.trace_id:
            found.setdefault(call.series, []).append(call)
    return found


def _exemplars(bounds: Sequence[float], calls: Iterable[SlowCall]) -> dict[int, Exemplar]:
    """Return the newest of *calls* in each bucket, by the place of its bound."""
    newest: dict[int, SlowCall] = {}
    for call in calls:
        place = bisect_left(bounds, call.seconds)
        if place not in newest or newest[place].end_ns < call.end_ns:
            newest[place] = call
    return {
        place: Exemplar(
            {"trace_id": f"{call.trace_id:032x}", "span_id": f"{call.span_id:016x}"}, call.seconds, call.end_ns / 1e9
        )
        for place, call in newest.items()
    }


def _merged(readings: Iterable[Reading | None]) -> Reading | None:
    merged = None
    for reading in readings:
        if reading is not None:
            merged = reading if merged is None else merged.merge(reading)
    return merged


def _info(process: Process) -> Metric:
    metric = Metric(INFO, "The service, its version and the process that these figures come from.", "info")
    facts = {
        **process.attributes,
        "service.name": process.service,
        "service.version": process.version or "",
        "service.instance.id": process.instance,
        "process.pid": process.pid or "",
        "host.name": process.host,
        "holter.fingerprint": process.fingerprint,
    }
    metric.samples.append(
        Sample(f"{INFO}_info", labels({key: value for key, value in facts.items() if value != ""}), 1)
    )
    return metric


def _alerts(alerts: Iterable[Alert]) -> Metric:
    """Return the alerts as a gauge: at most 100, those that fire first, then the newest."""
    metric = Metric(ALERTS_FIRING, "Alerts of holter's own checks: 1 is firing, 0 has resolved.", "gauge")
    states: dict[tuple[tuple[str, str], ...], int] = {}
    for alert in sorted(alerts, key=lambda alert: (alert.state != "firing", -alert.since_ns)):
        # Neither the id nor the message, which are others at each firing: each would be a series of its own.
        facts = {
            "holter.alert.check": alert.check,
            "holter.alert.expected": alert.expected,
            "holter.alert.severity": alert.severity,
            "holter.alert.target": alert.target,
        }
        states.setdefault(tuple(labels(facts).items()), int(alert.state == "firing"))
    metric.samples.extend(
        Sample(metric.name, dict(marks), is_firing) for marks, is_firing in list(states.items())[:_MOST_ALERTS]
    )
    return metric
