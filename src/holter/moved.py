"""
Which other signals moved when an alert fired: what is likely related to it.

A signal has moved when its level in the last while, of two minutes at most, lies beyond all that it was before,
by eight times the standard deviation of that (of the logarithms, and three percent of the level at least), and by a
factor that people call a change. Of all lengths of that while the surest one counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter import names, words
from holter.history import History
from holter.model import Alert, Series, Snapshot
from holter.timeline import FAILED

Values = NDArray[np.float64]

INTERVALS: Final = 150
MOST_SERIES: Final = 200
MOST_TOLD: Final = 8
FEWEST_BEFORE: Final = 8
_WHILES: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
_LONGEST_SECONDS: Final = 120.0
_SURE: Final = 8.0
# One interval alone proves less: figures that come in bursts have many of them.
_SURE_OF_ONE: Final = 16.0
_LEAST_SCATTER: Final = 0.03
_LONGER: Final = 1.5
_MORE: Final = 2.0
_HIGHER: Final = 1.25
_MORE_FAILURES: Final = 0.01
_LONGEST_NAME: Final = 120
# What holter does and what alerts are made of: they follow, and explain nothing.
_OWN: Final = (
    *(names.RECORDS_WRITTEN, names.RECORDS_LOST, names.VALUES_REFUSED, names.VALUES_NONFINITE, names.INTERNAL_ERRORS),
    *(names.SAMPLER_INTERVAL, names.COLLECTOR_DURATION, names.SERIES_COUNT, names.EXPORTER_FAILURES, names.OVERHEAD),
    *(names.EXPORTER_DROPPED, names.ALERTS_FIRED, names.SLO_BUDGET, names.SLO_BURN_RATE, names.GROUP_READ_INTERVAL),
    *(names.CALL_OLDEST_ACTIVE_AGE, names.TRAINING_RUN_DURATION, names.TRAINING_PROGRESS, names.TRAINING_STEPS_DONE),
    *(names.GPU_READING_AGE, names.GPU_HELPER_CPU_TIME, names.GPU_HELPER_MEMORY, names.STORAGE_NEWEST_AGE),
    *(names.DRIFT_COLUMNS, names.DRIFT_PSI, names.DRIFT_JENSEN_SHANNON, names.DRIFT_KS, names.DRIFT_WASSERSTEIN),
)


@dataclass(frozen=True, slots=True)
class _Signal:
    """The levels of one signal, NaN where it has none; how much of a change counts, and in what unit it is told."""

    name: str
    what: str
    levels: Values
    factor: float
    unit: str


class Course:
    """
    The last 150 intervals of the busiest 200 series of a service.

    Takes up to 1 MB; to add an interval costs 0.7 us a series that moved, to ask 0.1 ms a series that is held.
    """

    def __init__(self) -> None:
        self._history = History(INTERVALS, series=MOST_SERIES, quantiles=False)

    def add(self, snapshot: Snapshot) -> None:
        """Take in an interval."""
        self._history.add(snapshot)

    def moved(self, alert: Alert) -> tuple[str, ...]:
        """Return in words what moved until now, but for what *alert* itself is about; at most 8, the surest first."""
        seconds = self._history.seconds()
        found = []
        for signal in _signals(self._history):
            if not _is_own(signal, alert):
                told = _told(signal, seconds)
                if told is not None:
                    found.append(told)
        found.sort(reverse=True)
        return tuple(text for _, text in found[:MOST_TOLD])


def _is_own(signal: _Signal, alert: Alert) -> bool:
    target = alert.target.partition("{")[0]
    if signal.name.partition("{")[0] != target:
        return False
    statistic = str(alert.evidence.get("statistic", ""))
    own = {"error_ratio": "errors", "rate": "calls", "missing": "calls", "": ""}.get(statistic, "time")
    return signal.what in (own, "")


def _signals(history: History) -> Iterator[_Signal]:
    families: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for series in history.series.values():
        if series.name not in _OWN:
            families[_name(series), series.name].append(series)
    seconds = np.maximum(history.seconds(), 1e-9)
    for (name, metric), members in families.items():
        columns = [history.column(series.id) for series in members]
        kind, unit = members[0].kind, members[0].unit
        if kind in ("gauge", "updowncounter"):
            yield _Signal(name, "", _held(columns[0]), _HIGHER, unit)
            continue
        counts = np.sum([column["count"] for column in columns], axis=0).astype(float)
        sums = np.sum([column["sum"] for column in columns], axis=0)
        if kind == "counter":
            yield _Signal(name, "", sums / seconds, _MORE, f"{unit}/s" if unit != "1" else unit)
            continue
        mean = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        is_call = metric == names.CALL_DURATION
        yield _Signal(name, "time" if is_call else "", mean, _LONGER, unit)
        if is_call:
            yield _Signal(name, "calls", counts / seconds, _MORE, "{call}/s")
            failed = [column["count"] for series, column in zip(members, columns, strict=True) if _has_failed(series)]
            if failed:
                share = np.sum(failed, axis=0) / np.maximum(counts, 1)
                yield _Signal(name, "errors", np.where(counts > 0, share, np.nan), _MORE, "share")


def _has_failed(series: Series) -> bool:
    return series.attributes.get(names.CALL_OUTCOME) in FAILED


def _name(series: Series) -> str:
    """Return what the series of one signal are called together: the call, its stage, or the metric."""
    known = dict(series.attributes)
    for ending in (names.CALL_OUTCOME, names.ERROR_TYPE):
        known.pop(ending, None)
    call = known.pop(names.CALL_NAME, None)
    if series.name == names.CALL_DURATION and call is not None:
        base = str(call)
    elif series.name == names.SPAN_DURATION and call is not None:
        base = f"{call} > {known.pop(names.SPAN_NAME, '')}"
    elif call is not None:
        base = f"{call} > {series.name.removeprefix('holter.')}"
    else:
        base = series.name
    rest = ", ".join(f"{key}={value}" for key, value in sorted(known.items()))
    return words.clean(f"{base}{{{rest}}}" if rest else base, _LONGEST_NAME)


def _held(column: NDArray[np.void]) -> Values:
    """Return the values of a gauge, which holds its last one while it does not move."""
    values = np.where(column["count"] > 0, column["p50"], np.nan)
    known = np.where(np.isnan(values), 0, np.arange(len(values)))
    return np.asarray(values[np.maximum.accumulate(known)], float)


def _told(signal: _Signal, seconds: Values) -> tuple[float, str] | None:
    """Return how surely *signal* has moved until now, and how, in words; None where it has not."""
    known = ~np.isnan(signal.levels)
    levels, lasted = signal.levels[known], np.cumsum(seconds[known][::-1])
    if len(levels) <= FEWEST_BEFORE or levels.min() < 0 or levels.max() <= 0:
        return None
    # A hundredth of the highest: the factor between nothing and little says nothing.
    logs = np.log(np.maximum(levels, 0.01 * levels.max()))
    if np.ptp(logs) < np.log(signal.factor):
        return None
    best, found = 0.0, 0
    highest, lowest = np.maximum.accumulate(logs), np.minimum.accumulate(logs)
    for length in _lengths(len(levels), lasted):
        inside, top, bottom = logs[-length:], highest[-length - 1], lowest[-length - 1]
        # The median lies beyond it, in other words; it is found without sorting.
        if 2 * max(np.count_nonzero(inside > top), np.count_nonzero(inside < bottom)) <= length:
            continue
        before = logs[:-length]
        change = abs(float(np.median(inside)) - float(np.median(before)))
        sure = change / max(_LEAST_SCATTER, float(before.std()))
        is_sure = sure >= (_SURE if length > 1 else _SURE_OF_ONE)
        if is_sure and change >= np.log(signal.factor) and sure * length**0.5 > best:
            best, found = sure * length**0.5, length
    if not found:
        return None
    before, now = float(np.median(levels[:-found])), float(np.median(levels[-found:]))
    if signal.unit == "share" and abs(now - before) < _MORE_FAILURES:
        return None
    return best, _words(signal, before, now)


def _lengths(count: int, lasted: Values) -> Iterable[int]:
    """Return how many of the newest intervals can be the time in which something moved."""
    # A while that is up to twice as long as the change still shows it, one that is shorter does not.
    most = max(1, min(count - FEWEST_BEFORE, int(np.searchsorted(lasted, _LONGEST_SECONDS, side="right"))))
    return sorted({most, *(length for length in _WHILES if length <= most)})


def _words(signal: _Signal, before: float, now: float) -> str:
    """Return how a signal moved: "embed: time rose from 3 ms to 9 ms"."""
    verb = "rose" if now > before else "fell"
    is_ratio = signal.unit == "1" and signal.name.partition("{")[0].endswith((".utilization", "ratio"))
    say = words.ratio if signal.unit == "share" or is_ratio else lambda value: words.quantity(value, signal.unit)
    what = f"{signal.what} {verb}" if signal.what else verb
    return f"{signal.name}: {what} from {say(before)} to {say(now)}"
