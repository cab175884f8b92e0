"""The signals of a service: what every series says of an interval, as numbers that can be judged one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from holter.distribution import Histogram, joined
from holter.metric import LEVELS, Series
from holter.model import Reading, Snapshot
from holter.names import (
    CALL_NAME,
    CALL_OUTCOME,
    SPAN_NAME,
    TRAINING_EPOCH,
    TRAINING_PROGRESS,
    TRAINING_RUN_DURATION,
    TRAINING_STEPS_DONE,
    TRAINING_STEPS_TOTAL,
)
from holter.record import Outcome
from holter.words import clean

_FAILED: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
# What holter says of itself, and what only ever rises.
_OURS: Final = (
    "holter.records.", "holter.values.", "holter.internal_errors", "holter.sampler.", "holter.collector.",
    "holter.series", "holter.exporter.", "holter.overhead", "holter.alerts", "holter.slo.", "holter.group.",
    "holter.process.deaths", "holter.slow_calls.", "holter.anomaly.", "holter.guard.",
    "holter.gpu.reading_age", "holter.gpu.helper.",
)  # fmt: skip
_RISING: Final = (
    TRAINING_EPOCH, TRAINING_PROGRESS, TRAINING_RUN_DURATION, TRAINING_STEPS_DONE, TRAINING_STEPS_TOTAL,
    "holter.call.oldest_active_age",
)  # fmt: skip
_QUANTILES: Final = (("p50", 0.5, 5), ("p90", 0.9, 20), ("p99", 0.99, 100))
"""Name, share, and of how many values it says something."""
_LEAST_MEAN: Final = 3
_SHRUNK: Final = 0.375
_JITTER: Final = 0.15
_DAY_SECONDS: Final = 86_400.0


class Key(NamedTuple):
    """A signal: a series' metric and attributes, and which statistic of it."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    statistic: str

    @property
    def words(self) -> str:
        """The signal as people say it: "p99 of predict"."""
        known = dict(self.attributes)
        call = known.pop(CALL_NAME, "")
        stage = known.pop(SPAN_NAME, "")
        target = " ".join(part for part in (call, stage) if part) or self.name
        rest = ", ".join(f"{key}={value}" for key, value in known.items())
        label = self.statistic.replace("_", " ")
        what = target if label == "value" else f"{label} of {target}"
        return clean(f"{what} ({rest})" if rest else what, 200)

    @property
    def text(self) -> str:
        """The signal in one string, by which it is known in the next process."""
        return "|".join([self.statistic, self.name, *(f"{key}={value}" for key, value in self.attributes)])


class Value(NamedTuple):
    """What a signal says: what is judged, what people are told, in which unit, and which way it is trouble."""

    judged: float
    told: float
    unit: str
    direction: int
    scale: float = 1.0
    """What makes of a number that is judged one that is told."""


@dataclass(slots=True)
class Sum:
    """What one series and its parts said in the intervals so far."""

    series: Series
    count: int = 0
    total: float = 0.0
    failed: int = 0
    last: float = math.nan
    histograms: list[Histogram] = field(default_factory=list)

    def add(self, reading: Reading, *, has_failed: bool) -> None:
        """Take in the reading of the series, or of a part of it."""
        self.count += reading.count
        self.total += reading.sum
        self.failed += reading.count if has_failed else 0
        if reading.last is not None:
            self.last = reading.last
        if isinstance(reading.histogram, Histogram):
            self.histograms.append(reading.histogram)

    def join(self, other: Sum) -> None:
        """Take in what was said later."""
        self.count, self.total, self.failed = (
            self.count + other.count,
            self.total + other.total,
            self.failed + other.failed,
        )
        self.last = self.last if math.isnan(other.last) else other.last
        self.histograms.extend(other.histograms)


class Stretch:
    """All series over some intervals."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sums: dict[int, Sum] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take in the interval of *snapshot*."""
        self.seconds += snapshot.interval_ns / 1e9
        for key, series in snapshot.series.items():
            if series.parent is None and key not in self.sums and is_judged(series):
                self.sums[key] = Sum(series)
        for key, reading in snapshot.interval.items():
            series = snapshot.series[key]
            root, has_failed = series, False
            while root.parent is not None and root.parent in snapshot.series:
                has_failed |= root.attributes.get(CALL_OUTCOME) in _FAILED
                root = snapshot.series[root.parent]
            # One that was read alone, without the series that it is a part of.
            has_failed |= root.attributes.get(CALL_OUTCOME) in _FAILED
            held = self.sums.get(root.id)
            if held is not None:
                held.add(reading, has_failed=has_failed)

    def join(self, other: Stretch) -> None:
        """Take in a stretch that came later."""
        self.seconds += other.seconds
        for key, held in other.sums.items():
            mine = self.sums.get(key)
            if mine is None:
                self.sums[key] = mine = Sum(held.series)
            mine.join(held)


def is_judged(series: Series) -> bool:
    """Whether a series has signals: neither holter's own figures nor what only rises."""
    return not series.name.startswith(_OURS) and series.name not in _RISING


class Ratios:
    """The error ratio of each series by now, against which few calls and many are put on one scale."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[float, float]] = {}
        """By the text of each signal, how many failed of how many."""

    def residual(self, key: Key, failed: float, count: float, weight: float) -> float:
        """
        Return how many standard deviations more failed than is usual, given the volume; of few calls as of many.

        Anscombe's root (1948): counts about their expectation, with a variance of 1 whatever that is.
        """
        bad, calls = self.known.get(key.text, (0.0, 0.0))
        usual = (bad + 0.5 * (not calls)) / calls if calls else failed / count
        self.known[key.text] = bad * (1 - weight) + failed, calls * (1 - weight) + count
        return 2.0 * (math.sqrt(failed + _SHRUNK) - math.sqrt(count * usual + _SHRUNK))


def values(stretch: Stretch, ratios: Ratios, nominal_seconds: float) -> Iterator[tuple[Key, Value]]:
    """Yield each signal of the *stretch*, of *nominal_seconds* or thereabouts, that says something."""
    seconds = stretch.seconds
    if seconds <= 0:
        return
    # Counts stay whole while intervals only jitter; of a stretch that is much longer the same time is taken.
    fits = abs(seconds / nominal_seconds - 1.0) <= _JITTER
    part, day_share = 1.0 if fits else nominal_seconds / seconds, seconds / _DAY_SECONDS
    for held in stretch.sums.values():
        series = held.series
        attributes = tuple(sorted((str(key), str(value)) for key, value in series.attributes.items()))

        def key(statistic: str, name: str = series.name, of: tuple[tuple[str, str], ...] = attributes) -> Key:
            return Key(name, of, statistic)

        if series.kind in LEVELS:
            if not math.isnan(held.last):
                yield key("value"), Value(held.last, held.last, series.unit, 0)
            continue
        grown = held.total if series.kind == "counter" else held.count
        unit = f"{_counted(series)}/s"
        yield key("rate"), Value(grown * part, grown / seconds, unit, 0, 1.0 / (seconds * part))
        if series.kind == "histogram":
            yield from _distribution(held, key("mean"), ratios, day_share)


def _counted(series: Series) -> str:
    """Return the unit of what the rate of a series counts."""
    if series.kind == "counter":
        return series.unit
    return "{call}" if CALL_NAME in series.attributes else "{value}"


def _distribution(held: Sum, key: Key, ratios: Ratios, day_share: float) -> Iterator[tuple[Key, Value]]:
    """Yield what the values of a histogram say: longer is trouble, shorter is not."""
    unit, count = held.series.unit, held.count
    way = 1 if unit == "s" else 0
    if CALL_NAME in held.series.attributes and SPAN_NAME not in held.series.attributes and count:
        ratio = key._replace(statistic="error_ratio")
        yield ratio, Value(ratios.residual(ratio, held.failed, count, day_share), held.failed / count, "%", 1)
    if count >= _LEAST_MEAN:
        yield key, Value(held.total / count, held.total / count, unit, way)
    if not held.histograms:
        return
    histogram = joined(held.histograms)
    # What is judged in a slower rhythm too is joined once.
    held.histograms = [histogram]
    seen = histogram.count
    for name, share, least in _QUANTILES:
        if seen >= least:
            quantile = histogram.quantile(share)
            yield key._replace(statistic=name), Value(quantile, quantile, unit, way)
