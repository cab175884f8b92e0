"""The course of each watched call and training run over the intervals of a history, all outcomes together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter.history import History
from holter.model import Series
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    CALL_OUTCOME,
    ERROR_TYPE,
    ERROR_TYPE_OTHER,
    SPAN_DURATION,
    SPAN_NAME,
    TRAINING_DATA_WAIT,
    TRAINING_NAME,
    TRAINING_PHASE,
    TRAINING_PHASE_DURATION,
    TRAINING_STEP_DURATION,
)
from holter.record import Outcome

Values = NDArray[np.float64]

FAILED: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
"""The outcomes that count as errors."""

# The search for a change costs the square of it.
MOST_BINS: Final = 150
BUSIEST: Final = 20
# A part with a smaller share of the calls hardly shows in their 99th percentile.
_VISIBLE_SHARE: Final = 0.02
_NEARLY: Final = 0.8


@dataclass(frozen=True, slots=True)
class Axis:
    """When each bin of a timeline began, in Unix time, and for how many seconds it was watched."""

    start_ns: NDArray[np.int64]
    seconds: Values


@dataclass(slots=True)
class Stage:
    """One part of a call: the seconds spent in it, and how many failures passed through it, bin by bin."""

    seconds: Values
    failures: dict[str, Values] = field(default_factory=dict)


@dataclass(slots=True)
class Timeline:
    """
    One call bin by bin: how many, how long in all, failures by type, and the typical p50 and p99.

    ``p50`` and ``p99`` are NaN where no call ended. Those of several outcomes together follow
    from each one's own: the middle one by count, and the largest of those that matter.
    """

    name: str
    noun: str
    calls: Values
    seconds: Values
    p50: Values
    p99: Values
    failures: dict[str, Values] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def failed(self) -> Values:
        """How many calls failed, of whatever type."""
        return np.sum(list(self.failures.values()), axis=0) if self.failures else np.zeros(len(self.calls))


def inner_stage(amounts: Mapping[str, float], seconds: Mapping[str, float], at_least: float) -> str | None:
    """
    Return the stage to which most of something belongs, or None where none has *at_least* so much.

    Of stages that lie within each other the outer has nearly the same amount; the inner one,
    which takes fewer *seconds*, is to blame.
    """
    most = max(amounts.values(), default=0.0)
    if most <= 0 or most < at_least:
        return None
    near = (name for name, amount in amounts.items() if amount >= _NEARLY * most)
    return min(near, key=lambda name: seconds.get(name, 0.0))


def timelines(history: History) -> tuple[Axis, list[Timeline]]:
    """
    Return the axis and the busiest 20 timelines of *history*, the one with most seconds first.

    A bin is one interval, or several where there are more than 150; then the oldest few
    intervals that fill no bin are left out.
    """
    size = -(-len(history) // MOST_BINS) or 1
    seconds = _binned(history.seconds(), size)
    ends = history.times_ns()
    axis = Axis(ends[len(ends) % size + size - 1 :: size] - (seconds * 1e9).astype(np.int64), seconds)
    families: dict[tuple[str, str], list[Series]] = defaultdict(list)
    parts: dict[tuple[str, str], list[tuple[str, Series]]] = defaultdict(list)
    for series in history.series.values():
        call, run = (str(series.attributes.get(key, "")) for key in (CALL_NAME, TRAINING_NAME))
        if series.name == CALL_DURATION:
            families["calls", call].append(series)
        elif series.name == TRAINING_STEP_DURATION:
            families["steps", run].append(series)
        elif series.name == SPAN_DURATION:
            parts["calls", call].append((str(series.attributes.get(SPAN_NAME, "")), series))
        elif series.name == TRAINING_DATA_WAIT:
            parts["steps", run].append(("data wait", series))
        elif series.name == TRAINING_PHASE_DURATION:
            parts["steps", run].append((str(series.attributes.get(TRAINING_PHASE, "")), series))
    found = []
    for (noun, name), members in families.items():
        timeline = _timeline(noun, name, [(series, history.column(series.id)) for series in members], size)
        for stage_name, series in parts[noun, name]:
            column = history.column(series.id)
            stage = timeline.stages.setdefault(stage_name, Stage(np.zeros(len(seconds))))
            stage.seconds += _binned(column["sum"], size)
            for error_type in _failure(series):
                count = _binned(column["count"].astype(float), size)
                stage.failures[error_type] = stage.failures.get(error_type, 0) + count
        found.append(timeline)
    found.sort(key=lambda timeline: float(timeline.seconds.sum()), reverse=True)
    return axis, found[:BUSIEST]


def _timeline(noun: str, name: str, members: Iterable[tuple[Series, NDArray[np.void]]], size: int) -> Timeline:
    columns = [column for _, column in members]
    counts = np.array([column["count"] for column in columns], float)
    p50, p99 = (np.where(counts > 0, [column[key] for column in columns], np.nan) for key in ("p50", "p99"))
    calls = counts.sum(axis=0)
    timeline = Timeline(
        name=name,
        noun=noun,
        calls=_binned(calls, size),
        seconds=_binned(np.sum([column["sum"] for column in columns], axis=0), size),
        p50=_typical(_middle(p50, counts), size),
        p99=_typical(_largest(np.where(counts >= _VISIBLE_SHARE * calls, p99, np.nan)), size),
    )
    for (series, _), row in zip(members, counts, strict=True):
        for error_type in _failure(series):
            timeline.failures[error_type] = timeline.failures.get(error_type, 0) + _binned(row, size)
    return timeline


def _failure(series: Series) -> Iterator[str]:
    """Yield the type of error that a series of failures counts; nothing of another series."""
    if series.attributes.get(CALL_OUTCOME) in FAILED:
        yield str(series.attributes.get(ERROR_TYPE, ERROR_TYPE_OTHER))


def _binned(values: Values, size: int) -> Values:
    return np.asarray(values[len(values) % size :].reshape(-1, size).sum(axis=1), float)


def _typical(values: Values, size: int) -> Values:
    """Return the median of each bin, NaN where it has no value."""
    return _middle(values[len(values) % size :].reshape(-1, size).T)


def _largest(values: Values) -> Values:
    return np.where(np.isnan(values).all(axis=0), np.nan, np.nanmax(np.nan_to_num(values, nan=-np.inf), axis=0))


def _middle(values: Values, weights: Values | None = None) -> Values:
    """Return the weighted lower median of each column, of its values that are not NaN."""
    order = np.argsort(values, axis=0)
    ranked = np.take_along_axis(values, order, axis=0)
    weight = np.where(np.isnan(values), 0.0, 1.0 if weights is None else weights)
    rising = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    middle = (rising >= rising[-1:] / 2).argmax(axis=0)
    return np.asarray(np.take_along_axis(ranked, middle[None], axis=0)[0], float)
