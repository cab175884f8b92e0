"""The recent past of the busiest series, interval by interval, in plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter.errors import ConfigurationError
from holter.model import Kind, Reading, Series, Snapshot

INTERVAL: Final = np.dtype([("time_ns", "<i8"), ("interval_ns", "<i8")])
POINT: Final = np.dtype([("count", "<i8"), ("sum", "<f8"), ("p50", "<f8"), ("p99", "<f8")])


class History:
    """
    What the last intervals were like: count, sum, p50 and p99 of the busiest series in each.

    Two arrays, each a ring over the intervals, hold all of it: ``intervals`` × 16 bytes of time
    and ``series`` × ``intervals`` × 32 bytes of points, at the defaults 3.7 MiB when every row
    is in use. A series that moves when all rows are taken gets the row of the one that counted
    least within the history, if it counts more; ``left_out`` says how many have no row. What
    `add` has been given is copied into the arrays; nothing of a snapshot is kept but the
    ``series`` that have a row. Without *quantiles* those of histograms are NaN, and adding costs a tenth.
    Not thread-safe: who reads takes a `copy` while nobody adds.

    Raises:
        ConfigurationError: *intervals* or *series* is less than 1.
    """

    def __init__(self, intervals: int = 600, *, series: int = 200, quantiles: bool = True) -> None:
        for name, value in (("intervals", intervals), ("series", series)):
            if value < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {value}")
        self.axis = np.zeros(intervals, INTERVAL)
        self.points = np.zeros((series, intervals), POINT)
        self.added = 0
        self.left_out = 0
        self._has_quantiles = quantiles
        self.series: dict[int, Series] = {}
        self._rows: dict[int, int] = {}
        self._weights = np.zeros(series, np.int64)

    @classmethod
    def restored(
        cls,
        axis: NDArray[np.void],
        points: NDArray[np.void],
        series: Mapping[int, Series],
        added: int,
        left_out: int = 0,
    ) -> History:
        """
        Return a history with arrays that were written somewhere; *series* maps the series of each row to its id.

        The rows are those of *points* in the order of *series*, *added* is how many intervals there ever were.
        """
        held = cls(len(axis), series=max(1, len(points)))
        held.axis, held.points[: len(points)] = axis, points
        held.added, held.left_out = added, left_out
        held.series = dict(series)
        held._rows = {key: row for row, key in enumerate(series)}
        held._weights[: len(points)] = points["count"].sum(axis=1)
        return held

    @property
    def rows(self) -> Mapping[int, int]:
        """Which row of ``points`` each series has."""
        return self._rows

    def __len__(self) -> int:
        """How many intervals are held."""
        return min(self.added, len(self.axis))

    def add(self, snapshot: Snapshot) -> None:
        """Take in the interval of *snapshot*; the oldest one makes room. Costs two quantiles a histogram that moved."""
        column = self.added % len(self.axis)
        used = len(self._rows)
        self._weights[:used] -= self.points["count"][:used, column]
        self.points[:used, column] = 0
        self.axis[column] = (snapshot.time_ns, snapshot.interval_ns)
        self.added += 1
        self.left_out = 0
        newcomers = []
        for key, reading in snapshot.interval.items():
            row = self._rows.get(key)
            if row is None:
                newcomers.append((reading.count, key))
            else:
                self._write(row, column, self.series[key].kind, reading)
        for _, key in sorted(newcomers, reverse=True):
            reading = snapshot.interval[key]
            row = self._place(snapshot.series[key], reading.count) if key in snapshot.series else None
            if row is None:
                self.left_out += 1
            else:
                self._write(row, column, self.series[key].kind, reading)

    def copy(self) -> History:
        """Return another history that holds the same and is added to no more; costs about a millisecond."""
        other = History(len(self.axis), series=len(self._weights))
        used = len(self._rows)
        other.axis[:], other.points[:used], other._weights[:] = self.axis, self.points[:used], self._weights
        other.series, other._rows = dict(self.series), dict(self._rows)
        other.added, other.left_out = self.added, self.left_out
        return other

    def column(self, series: int) -> NDArray[np.void]:
        """
        Return the points of the series with id *series*, oldest first, one an interval, as a copy.

        Fields: ``count``, ``sum``, ``p50``, ``p99`` in the unit of the series; all zero where the
        series did not move or has no row. The quantiles of a series that is no histogram are its
        last value; NaN where no record was left to tell them.
        """
        row = self._rows.get(series)
        return np.zeros(len(self), POINT) if row is None else self._in_order(self.points[row])

    def times_ns(self) -> NDArray[np.int64]:
        """Return the Unix time at which each interval ended, oldest first."""
        return self._in_order(self.axis)["time_ns"]

    def seconds(self) -> NDArray[np.float64]:
        """Return how long each interval was, oldest first."""
        return self._in_order(self.axis)["interval_ns"] / 1e9

    def _in_order(self, ring: NDArray[np.void]) -> NDArray[np.void]:
        if self.added <= len(ring):
            return ring[: self.added].copy()
        return np.roll(ring, -(self.added % len(ring)))

    def _place(self, series: Series, count: int) -> int | None:
        """Return the row for a series that moved for the first time, or None where busier ones hold them all."""
        row = len(self._rows)
        if row == len(self._weights):
            row = int(self._weights.argmin())
            if self._weights[row] >= count:
                return None
            quietest = next(key for key, held in self._rows.items() if held == row)
            del self._rows[quietest], self.series[quietest]
            self._weights[row] = 0
            self.points[row] = 0
        self._rows[series.id] = row
        self.series[series.id] = series
        return row

    def _write(self, row: int, column: int, kind: Kind, reading: Reading) -> None:
        p50 = p99 = float("nan")
        if kind == "histogram" and reading.histogram is not None and self._has_quantiles:
            p50, p99 = reading.histogram.quantile(0.5), reading.histogram.quantile(0.99)
        elif reading.last is not None:
            p50 = p99 = reading.last
        self.points[row, column] = (reading.count, reading.sum, p50, p99)
        self._weights[row] += reading.count
