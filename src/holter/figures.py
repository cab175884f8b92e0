"""The figures of a snapshot as files hold them: which are new, what each is called, and in harmless text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from numbers import Integral, Real
from typing import Any, Final

from holter.metric import LEVELS
from holter.model import Reading, Series, Snapshot
from holter.words import clean

LONGEST_TEXT: Final = 1024
"""How many characters of a foreign text go into a cell or a field."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Kinds whose values are levels, of which the newest counts: they are not added up."""
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def timestamp(time_ns: int) -> str:
    """Return Unix time as ISO 8601 in UTC with milliseconds: "2026-11-22T14:03:09.225Z"."""
    time = _EPOCH + timedelta(milliseconds=time_ns // 1_000_000)
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def plain(value: Any) -> Any:
    """Return *value* as JSON can hold it: every text on one printable line, None for what is not finite."""
    if isinstance(value, str):
        return clean(value, LONGEST_TEXT)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key), LONGEST_TEXT): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return clean(str(value), LONGEST_TEXT)


def statistics(series: Series, interval: Reading, total: Reading, seconds: float) -> dict[str, int | float]:
    """
    Return the statistics of *series* by name, in its unit; what is not known or not finite is left out.

    Since recording began: ``count``, ``sum`` (of a counter its value) and ``units``; the newest
    one is the truth, so that lost rows spoil no total. Of the interval: ``interval_count``,
    ``rate`` and ``units_rate`` a second, ``mean``, ``min``, ``p50``, ``p90``, ``p99``, ``max``; ``sampled``, how many
    values the quantiles come from, where that is not all of them; and of a gauge, or of what goes
    up and down otherwise, ``last``, with ``min`` and ``max`` if it has varied.
    """
    if series.kind == "histogram":
        return _of_histogram(interval, total, seconds)
    if series.kind in LEVELS:
        varied = {"min": interval.minimum, "max": interval.maximum} if interval.minimum != interval.maximum else {}
        return _finite({"last": interval.last, **varied})
    return _finite({"sum": total.sum, "rate": interval.sum / seconds if seconds > 0 else None})


def _of_histogram(interval: Reading, total: Reading, seconds: float) -> dict[str, int | float]:
    held = interval.histogram
    sampled = held.count if held is not None else 0
    named: dict[str, int | float] = {"count": int(total.count), **_finite({"sum": total.sum})}
    if total.units:
        named["units"] = int(total.units)
    named["interval_count"] = int(interval.count)
    named |= _finite(
        {
            "rate": interval.count / seconds if seconds > 0 else None,
            "units_rate": interval.units / seconds if seconds > 0 and interval.units else None,
            "mean": interval.sum / interval.count if interval.count else None,
            "min": interval.minimum,
            **({name: held.quantile(q) for name, q in _QUANTILES.items()} if held is not None and sampled else {}),
            "max": interval.maximum,
        }
    )
    if sampled != interval.count:
        named["sampled"] = int(sampled)
    return named


def _finite(named: Mapping[str, float | None]) -> dict[str, float]:
    """Return those of the values that are numbers, as Python's own."""
    return {name: float(value) for name, value in named.items() if value is not None and math.isfinite(value)}


class News:
    """
    Tells which series have changed since they were last written to one place.

    A histogram has news when it holds values of the interval, a counter when its value is another
    one, a gauge when it is or was another one. Keeps one number a series. Not thread-safe.
    """

    def __init__(self) -> None:
        self._values: dict[int, float] = {}
        self._place: object = None

    def of(self, snapshot: Snapshot) -> list[Series]:
        """Return the series of *snapshot* that are worth writing."""
        moved = (snapshot.series[key] for key in snapshot.interval if key in snapshot.series)
        return [series for series in moved if self._is_news(series, snapshot)]

    def written(self, snapshot: Snapshot, place: object) -> None:
        """Remember that the news of *snapshot* stand in *place*; in a new place all are news once more."""
        if self._place not in (None, place):
            self._values = {}
        else:
            self._values |= {key: value for key in snapshot.interval if (value := _value(key, snapshot)) is not None}
        self._place = place

    def _is_news(self, series: Series, snapshot: Snapshot) -> bool:
        interval = snapshot.interval[series.id]
        if series.kind == "histogram":
            return interval.count > 0
        has_varied = series.kind in LEVELS and interval.minimum != interval.maximum
        return has_varied or _value(series.id, snapshot) != self._values.get(series.id)


def _value(key: int, snapshot: Snapshot) -> float | None:
    """Return the one number that tells whether a series other than a histogram has changed."""
    series = snapshot.series.get(key)
    if series is None or series.kind == "histogram":
        return None
    return snapshot.interval[key].last if series.kind in LEVELS else snapshot.total.get(key, Reading()).sum
