"""What the collector has folded, as a recording holds it: cumulative readings, and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from holter.distribution import COARSEST_SCALE, FINEST_SCALE, WINDOW, Buckets, Histogram
from holter.layout import BUCKET_COUNT, BUCKET_INDEX, CURSOR, ELSEWHERE, FOLD_HEADER, NO_HISTOGRAM, READING
from holter.model import Reading, Snapshot

_BUCKET_BYTES: Final = BUCKET_INDEX.itemsize + BUCKET_COUNT.itemsize
# Histograms lie dense in memory: so many at a time take at most 8 MiB.
_BATCH: Final = 512
_MOST: Final = 2**53
_KINDS: Final[tuple[np.dtype[Any], ...]] = (READING, BUCKET_COUNT, CURSOR, ELSEWHERE, BUCKET_INDEX)
_NOWHERE: Final = np.zeros(0, ELSEWHERE)


def encode(
    snapshots: Iterable[Snapshot], cursors: Mapping[int, int], elsewhere: NDArray[np.void], most: int
) -> tuple[list[bytes], int]:
    """
    Return the section's bytes in parts, and how many bytes all of the readings would take.

    The busiest series come first, until *most* bytes are reached; the section says how many are
    left out. Costs some 5 µs a series.
    """
    readings: dict[int, Reading] = {}
    lost = monotonic_ns = 0
    for snapshot in snapshots:
        readings.update(snapshot.total)
        lost, monotonic_ns = max(lost, snapshot.lost), max(monotonic_ns, snapshot.monotonic_ns)
    ordered = sorted(readings.items(), key=lambda item: item[1].count, reverse=True)
    rows = np.fromiter(cursors.items(), CURSOR, len(cursors))
    cells = _used(elsewhere)
    wanted = FOLD_HEADER.itemsize + rows.nbytes + cells.nbytes
    tables, indices, counts, left = [], [], [], most - wanted
    for first in range(0, len(ordered), _BATCH):
        table, index, count = _encode_batch(ordered[first : first + _BATCH])
        buckets = table["positive"] + table["negative"]
        ends = np.cumsum(READING.itemsize + _BUCKET_BYTES * buckets)
        wanted += int(ends[-1])
        fitting = int(np.searchsorted(ends, left, side="right")) if left > 0 else 0
        kept = int(buckets[:fitting].sum())
        tables.append(table[:fitting])
        indices.append(index[:kept])
        counts.append(count[:kept])
        left = left - int(ends[fitting - 1]) if fitting == len(table) else 0
    header = np.zeros(1, FOLD_HEADER)
    written = sum(map(len, tables))
    header[0] = (monotonic_ns, lost, len(ordered) - written, written, sum(map(len, counts)), len(rows), len(cells), 0)
    parts = (header, *tables, *counts, rows, cells, *indices)
    return [part.tobytes() for part in parts], wanted


def _used(cells: NDArray[np.void]) -> NDArray[np.void]:
    """Return the cells that are not empty, each with the id of its series."""
    words = np.ascontiguousarray(cells).view(np.int64).reshape(len(cells), -1)
    series = np.flatnonzero(words.any(axis=1))
    used = np.zeros(len(series), ELSEWHERE)
    used["series"], used["cell"] = series, cells[series]
    return used


def _encode_batch(items: Sequence[tuple[int, Reading]]) -> tuple[NDArray[np.void], NDArray[Any], NDArray[Any]]:
    """Return the rows of some readings, and the indices and counts of their buckets that are not empty."""
    readings = [reading for _, reading in items]
    histograms = [one.histogram if isinstance(one.histogram, Histogram) else None for one in readings]
    sides = [side for one in histograms for side in ((one.positive, one.negative) if one else (_NONE, _NONE))]
    dense = np.frombuffer(b"".join([side.memory for side in sides]), np.int64)
    sizes = np.array([side.size for side in sides])
    filled = np.flatnonzero(dense)
    owner = np.repeat(np.arange(len(sides)), sizes)[filled]
    first = np.array([side.offset for side in sides]) - (np.cumsum(sizes) - sizes)
    numbers = np.bincount(owner, minlength=len(sides)).reshape(-1, 2)
    table = np.zeros(len(readings), READING)
    table["series"] = [key for key, _ in items]
    table["count"] = [one.count for one in readings]
    table["sum"] = [one.sum for one in readings]
    table["units"] = [one.units for one in readings]
    table["first_ns"] = [one.first_ns for one in readings]
    table["last_ns"] = [one.last_ns for one in readings]
    for name in ("minimum", "maximum", "first", "last"):
        values = [getattr(one, name) for one in readings]
        table[name] = [math.nan if value is None else value for value in values]
    table["scale"] = [NO_HISTOGRAM if one is None else one.scale for one in histograms]
    table["zeros"] = [0 if one is None else one.zero_count for one in histograms]
    table["nonfinite"] = [0 if one is None else one.nonfinite for one in histograms]
    table["positive"], table["negative"] = numbers[:, 0], numbers[:, 1]
    return table, (filled + first[owner]).astype(BUCKET_INDEX), dense[filled].astype(BUCKET_COUNT)


_NONE: Final = Buckets(0, b"")


class Rows:
    """Finds the row of an id among *ids*, in less memory than a dict would take."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._order = ids.argsort(kind="stable")
        self._sorted = ids[self._order]

    def find(self, key: int) -> int | None:
        """Return the first row that has the id *key*, None where none has it."""
        at = int(self._sorted.searchsorted(key))
        return int(self._order[at]) if at < len(self._sorted) and self._sorted[at] == key else None


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """
    The same read back; ``Folded()`` is that of a process that has saved nothing yet.

    Readings are made when they are asked for: dense in memory they take up to 80 times as much.
    """

    monotonic_ns: int = 0
    lost: int = 0
    left_out: int = 0
    cursors: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, CURSOR))
    elsewhere: NDArray[np.void] = field(default_factory=lambda: _NOWHERE)
    _table: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, READING))
    _ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _indices: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, BUCKET_INDEX))
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, BUCKET_COUNT))
    _is_sound: bool = True
    """Whether all buckets are as a writer writes them; else each row's are looked at."""
    _rows: Rows = field(default_factory=lambda: Rows(np.zeros(0, np.int64)))
    _cursor_rows: Rows = field(default_factory=lambda: Rows(np.zeros(0, np.int64)))
    _elsewhere_rows: Rows = field(default_factory=lambda: Rows(np.zeros(0, np.int64)))

    @classmethod
    def decode(cls, content: bytes) -> Folded | None:
        """Return what *content* holds, None if it is not what a writer would have written."""
        if len(content) < FOLD_HEADER.itemsize:
            return None
        header = np.frombuffer(content, FOLD_HEADER, 1)[0]
        lengths = [int(header[name]) for name in ("readings", "buckets", "cursors", "cells", "buckets")]
        parts: list[NDArray[Any]] = []
        at = FOLD_HEADER.itemsize
        for kind, length in zip(_KINDS, lengths, strict=True):
            if not 0 <= length <= (len(content) - at) // kind.itemsize:
                return None
            parts.append(np.frombuffer(content, kind, length, at))
            at += length * kind.itemsize
        table, counts, cursors, cells, indices = parts
        if (table["positive"] < 0).any() or (table["negative"] < 0).any():
            return None
        ends = np.cumsum(table["positive"].astype(np.int64) + table["negative"])
        if len(ends) and ends[-1] != len(counts):
            return None
        return cls(
            monotonic_ns=int(header["monotonic_ns"]),
            lost=int(header["lost"]),
            left_out=int(header["left_out"]),
            cursors=cursors,
            elsewhere=cells,
            _table=table,
            _ends=ends,
            _indices=indices,
            _counts=counts,
            _is_sound=_are_sound(table, ends, indices, counts),
            _rows=Rows(table["series"]),
            _cursor_rows=Rows(cursors["ring"]),
            _elsewhere_rows=Rows(cells["series"]),
        )

    def series(self) -> NDArray[np.int64]:
        """Return the ids of the series that have a reading."""
        return self._table["series"]

    def marks(self) -> list[tuple[int, tuple[int, float, int]]]:
        """Return of each series that has a reading, row by row, its id and what differs whenever the reading does."""
        table = self._table
        columns = (table[name].tolist() for name in ("count", "sum", "last_ns"))
        return list(zip(table["series"].tolist(), zip(*columns, strict=True), strict=True))

    def mark(self, series: int) -> bytes:
        """Return what differs whenever the reading of *series* does, or its cells in rings elsewhere."""
        row, cell = self._rows.find(series), self.cell(series)
        return (b"" if row is None else self._table[row].tobytes()) + (b"" if cell is None else cell.tobytes())

    def cursor(self, ring: int) -> int:
        """Return the sequence up to which the records of *ring* were folded."""
        row = self._cursor_rows.find(ring)
        return 0 if row is None else int(self.cursors["sequence"][row])

    def holds(self, series: int) -> bool:
        """Whether there is a reading or a cell of *series*."""
        return self._rows.find(series) is not None or self._elsewhere_rows.find(series) is not None

    def cell(self, series: int) -> np.void | None:
        """Return the cell of *series*, summed over the rings that are not in the file; None where there is none."""
        row = self._elsewhere_rows.find(series)
        return None if row is None else self.elsewhere["cell"][row]

    def reading(self, series: int, *, level: bool = False) -> Reading | None:
        """Return what was folded of *series*, None if it is not among them; of a *level* without a histogram."""
        row = self._rows.find(series)
        return None if row is None else next(self.readings([row], [level]))

    def readings(self, rows: Sequence[int], levels: Iterable[bool]) -> Iterator[Reading]:
        """Yield the readings in some *rows*; of those that are *levels* without a histogram."""
        # All fields of all rows at once: one by one they take ten times as long.
        for row, level, values in zip(rows, levels, self._table[list(rows)].tolist(), strict=True):
            _, count, total, units, *extremes, first_ns, last_ns, scale, zeros, nonfinite, above, below = values
            low, high, first, last = [None if math.isnan(value) else value for value in extremes]
            histogram = None if level else self._histogram(row, scale, (zeros, nonfinite), (above, below))
            yield Reading(count, total, units, low, high, last, histogram, first, first_ns, last_ns)

    def _histogram(self, row: int, scale: int, others: tuple[int, int], sizes: tuple[int, int]) -> Histogram | None:
        """Return the histogram of a row with so many zeros and not finite values, and so many buckets of each sign."""
        if not COARSEST_SCALE <= scale <= FINEST_SCALE or not 0 <= min(others) <= max(others) < _MOST:
            return None
        end = int(self._ends[row])
        middle = end - sizes[1]
        positive = self._buckets(middle - sizes[0], middle)
        negative = self._buckets(middle, end)
        if positive is None or negative is None:
            return None
        return Histogram(scale, *others, positive, negative)

    def _buckets(self, start: int, end: int) -> Buckets | None:
        """Return the buckets of one sign, None if they are none that a histogram has."""
        if start == end:
            return _NONE
        counts, places = self._counts[start:end], self._indices[start:end]
        offset, last = int(places[0]), int(places[-1])
        if not 0 <= last - offset < WINDOW or not (self._is_sound or _in_order(places, counts)):
            return None
        if last - offset == end - start - 1:
            return Buckets(offset, counts.tobytes())
        dense = np.zeros(last - offset + 1, np.int64)
        dense[places - offset] = counts
        return Buckets(offset, dense.tobytes())


def _are_sound(
    table: NDArray[np.void], ends: NDArray[np.int64], indices: NDArray[np.int32], counts: NDArray[np.int64]
) -> bool:
    """Whether the buckets of each sign of each row are in order, and none is empty."""
    if not len(counts):
        return True
    rises = indices[1:] > indices[:-1]
    # From one sign to the other, and from one row to the next, they may fall.
    starts = np.concatenate([ends, ends - table["negative"]])
    rises[starts[(starts > 0) & (starts < len(counts))] - 1] = True
    return bool(rises.all() and counts.min() > 0 and counts.max() < _MOST)


def _in_order(places: NDArray[np.int32], counts: NDArray[np.int64]) -> bool:
    return bool((places[1:] > places[:-1]).all() and counts.min() > 0 and counts.max() < _MOST)
