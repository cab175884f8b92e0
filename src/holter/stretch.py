"""What all series of a service say over some intervals, in arrays over their places, and what that is as signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.distribution import Histogram
from holter.metric import Series
from holter.missing import Missing
from holter.model import Reading, Snapshot
from holter.pooled import Pool
from holter.signals import ERROR_RATIO, FIRST_QUANTILE, MEAN, MISSING, RATE, ROOT, WIDTH, Entry, Places, Value, longer
from holter.surprise.normal import score_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SHARES: Final = (0.5, 0.9, 0.99)
_LEAST: Final = np.array([5, 20, 100])
"""Of how many values each quantile says something."""
_MANY: Final = 100.0
_MOST_COUNTED: Final = 250
_RARE: Final = 0.9999
_JITTER: Final = 0.15
_DAY_SECONDS: Final = 86_400.0
_VOLUME_DAYS: Final = 3.0
_NORMS: Final = ("bad", "calls", "volume", "seen")
_ARRAYS: Final = (("count", 0.0), ("total", 0.0), ("failed", 0.0), ("last", np.nan), ("is_present", 0.0))


class Stretch:
    """All series over some intervals, by the *places* that series have."""

    count: Floats
    total: Floats
    failed: Floats
    last: Floats
    is_present: Bools

    def __init__(self, places: Places) -> None:
        self._places = places
        self.seconds = 0.0
        self.pool = Pool()
        # The last element takes what is nowhere.
        for name, fill in _ARRAYS:
            setattr(self, name, np.full(1, fill, bool if name == "is_present" else float))

    def _fit(self) -> None:
        size = self._places.size + 1
        if len(self.count) < size:
            for name, fill in _ARRAYS:
                setattr(self, name, longer(getattr(self, name)[:-1], size, fill))

    def add(self, snapshot: Snapshot) -> None:
        """Take in the interval of *snapshot*."""
        self.seconds += snapshot.interval_ns / 1e9
        found = snapshot.series
        present = [entry.place for entry in self._entries(found, found)]
        entries, readings = self._entries(snapshot.interval, found), list(snapshot.interval.values())
        self._fit()
        self.is_present[present] = True
        if readings:
            self._count(entries, readings)

    def _entries(self, keys: Any, found: Any) -> list[Entry]:
        known = self._places.entries
        entries = [known.get(key) for key in keys]
        if None in entries or any(
            entry.series is not found[key] for key, entry in zip(keys, entries, strict=True) if entry is not None
        ):
            return [self._entry(key, found) for key in keys]
        return [entry for entry in entries if entry is not None]

    def _entry(self, key: int, found: dict[int, Series]) -> Entry:
        entry = self._places.entries.get(key)
        return entry if entry is not None and entry.series is found[key] else self._places.enter(key, found)

    def _count(self, entries: list[Entry], readings: list[Reading]) -> None:
        at = np.array([entry.place for entry in entries])
        count = np.array([reading.count for reading in readings], float)
        np.add.at(self.count, at, count)
        np.add.at(self.total, at, np.array([reading.sum for reading in readings], float))
        has_failed = np.array([entry.has_failed for entry in entries])
        if has_failed.any():
            np.add.at(self.failed, at[has_failed], count[has_failed])
        last = np.array([reading.last for reading in readings], float)
        known = ~np.isnan(last)
        self.last[at[known]] = last[known]
        held = [
            (entry.place, reading.histogram)
            for entry, reading in zip(entries, readings, strict=True)
            if entry.has_histogram and isinstance(reading.histogram, Histogram)
        ]
        if held:
            self.pool.add([place for place, _ in held], [histogram for _, histogram in held])

    def presence(self) -> Bools:
        """Return which places had a series."""
        self._fit()
        return self.is_present[:-1]

    def join(self, other: Stretch) -> None:
        """Take in a stretch that came later."""
        self._fit()
        other._fit()
        self.seconds += other.seconds
        self.count += other.count
        self.total += other.total
        self.failed += other.failed
        np.copyto(self.last, other.last, where=~np.isnan(other.last))
        self.is_present |= other.is_present
        self.pool.join(other.pool)


class Norms:
    """What is usual of each series by now: its error ratio, and how many values an interval has."""

    def __init__(self) -> None:
        self.bad = np.zeros(0, np.float32)
        self.calls = np.zeros(0, np.float32)
        self.volume = np.zeros(0, np.float32)
        self.seen = np.zeros(0, np.float32)
        self._random = np.random.default_rng(0)

    def fit(self, size: int) -> None:
        """Have room for so many series."""
        for name in _NORMS:
            setattr(self, name, longer(getattr(self, name), size))

    def known(self, place: int) -> list[float]:
        """Return what is usual at a place, to be given to `set`."""
        self.fit(place + 1)
        return [float(getattr(self, name)[place]) for name in _NORMS]

    def set(self, place: int, known: Sequence[float]) -> None:
        """Go on from what was known at a place."""
        self.fit(place + 1)
        for name, value in zip(_NORMS, known, strict=True):
            getattr(self, name)[place] = value

    def error_ratios(self) -> Floats:
        """Return the share of the calls that usually fails, at each place."""
        return np.asarray(self.bad / np.maximum(self.calls, 1.0))

    def weights(self, at: npt.NDArray[np.intp], count: Floats, days: float) -> Floats:
        """
        Return by what the distance of a mean or a quantile from the usual is to be multiplied, at most 1.

        What few values say scatters more, by the root of their number: where there are fewer than usual, that is no
        news. At the places *at* the usual then goes the share of three days that *days* are of the way.
        """
        pace = np.maximum(days / _VOLUME_DAYS, 1.0 / (self.seen[at] + 1.0))
        self.seen[at] += 1.0
        self.volume[at] += pace * (count - self.volume[at])
        return np.sqrt(np.minimum(count / np.maximum(self.volume[at], 1e-9), 1.0))

    def residuals(self, at: npt.NDArray[np.intp], failed: Floats, count: Floats, weight: float) -> Floats:
        """
        Return how much more failed than is usual, given the volume: a standard normal number while nothing changes.

        A count stands for a range of the Poisson distribution, of which a point is drawn (randomised quantile
        residuals: Dunn and Smyth, 1996). The middle of it would be the same most of the time where hardly anything
        fails. At the places *at* the usual then goes a *weight* of the way.
        """
        bad, calls = self.bad[at], self.calls[at]
        usual = np.where(calls > 0, bad, failed) / np.where(calls > 0, calls, count)
        self.bad[at], self.calls[at] = bad * (1 - weight) + failed, calls * (1 - weight) + count
        return _score_of_count(failed, count * usual, self._random.random(len(at)))


def _score_of_count(count: Floats, mean: Floats, point: Floats) -> Floats:
    """Return the normal score of a *point* of a Poisson count's share; what is too rare for that goes on by roots."""
    roots = 2.0 * (np.sqrt(count + ROOT) - np.sqrt(mean + ROOT))
    few = np.flatnonzero((mean < _MANY) & (count < _MOST_COUNTED))
    term = np.exp(-mean[few])
    below, share = np.zeros(len(few)), np.zeros(len(few))
    for one in range(int(count[few].max(initial=-1)) + 1):
        share += np.where(count[few] == one, below + term * point[few], 0.0)
        below, term = below + term, term * mean[few] / (one + 1)
    score = roots.copy()
    score[few] = np.where(
        share < _RARE, score_of(share), float(score_of(np.array(_RARE))) + np.maximum(roots[few], 0.0)
    )
    return score


class Told:
    """
    What the signals of a *stretch*, of *nominal_seconds* or thereabouts, say: ``judged``, by number, else NaN.

    For how long no call ended is told where *missing* is given.
    """

    def __init__(
        self, stretch: Stretch, places: Places, norms: Norms, nominal_seconds: float, missing: Missing | None = None
    ) -> None:
        is_there, seconds = stretch.presence(), stretch.seconds
        size = len(is_there)
        norms.fit(size)
        # Counts stay whole while intervals only jitter; of a stretch that is much longer the same time is taken.
        fits = abs(seconds / nominal_seconds - 1.0) <= _JITTER
        part = 1.0 if fits else nominal_seconds / seconds
        self._places, self._rate_scale = places, 1.0 / (seconds * part)
        is_level = places.is_level
        count, total = stretch.count[:size], stretch.total[:size]
        self._errors = np.full(size, np.nan)
        judged = np.full((size, WIDTH), np.nan)
        grown = np.where(places.is_counter, total, count) * part
        judged[:, RATE] = np.where(is_there, np.where(is_level, stretch.last[:size], grown), np.nan)
        is_histogram = is_there & ~is_level & ~places.is_counter
        if missing is not None:
            is_call = is_there & places.is_call
            judged[:, MISSING] = np.where(is_call, missing.told(np.where(is_call, count, 0.0), seconds), np.nan)
        at = np.flatnonzero(is_histogram & places.has_errors & (count > 0))
        failed = stretch.failed[at]
        self._calls = count.copy()
        self._usual = norms.error_ratios()
        self._errors[at] = failed / count[at]
        judged[at, ERROR_RATIO] = norms.residuals(at, failed, count[at], seconds / _DAY_SECONDS)
        at = np.flatnonzero(is_histogram & (count > 0))
        judged[at, MEAN] = total[at] / count[at]
        at, seen, quantiles = stretch.pool.quantiles(_SHARES)
        judged[at, FIRST_QUANTILE:] = np.where(seen[:, None] >= _LEAST, quantiles, np.nan)
        self.judged: Floats = judged.ravel()
        weights = np.ones((size, WIDTH))
        at = np.flatnonzero(is_histogram)
        weights[at, MEAN:] = norms.weights(at, count[at], seconds / _DAY_SECONDS)[:, None]
        self.weights: Floats = weights.ravel()
        """By what the distance of each from the usual is to be multiplied."""

    def value(self, number: int) -> Value:
        """Return what a signal says, in people's terms too."""
        judged, unit = float(self.judged[number]), self._places.unit(number)
        place, which = divmod(number, WIDTH)
        if which == ERROR_RATIO:
            calls = float(self._calls[place])
            return Value(judged, float(self._errors[place]), unit, 1, 1.0, calls, calls * float(self._usual[place]))
        if which == RATE and not self._places.is_level[place]:
            return Value(judged, judged * self._rate_scale, unit, 0, self._rate_scale)
        if which == MISSING:
            return Value(judged, judged, unit, 1)
        way = int(self._places.is_longer_trouble[place]) if which >= MEAN else 0
        return Value(judged, judged, unit, way)
