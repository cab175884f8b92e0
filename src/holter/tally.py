"""
What the records of many series have come to, in columns: no object for a series until somebody asks for one.

A batch is taken in by two passes over its records: the first finds count, sum, extremes, first and last
value of each series and the bucket of each value; then each series gets a window of buckets, side by
side in one array; the second pass counts. In C both take some nanoseconds a record. In Python, which
specifies what they do, the batch is sorted by series first, and each figure is a pass of numpy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.distribution import (
    CARRIES,
    COUNT_BYTES,
    FINEST_SCALE,
    NO_BUCKETS,
    WINDOW,
    Buckets,
    Floats,
    Histogram,
    Integers,
    index_normal,
    indices,
)
from holter.reading import Reading
from holter.ring import NATIVE, joined

_ROW: Final = np.dtype(
    [
        ("series", "i8"), ("count", "i8"), ("sum", "f8"), ("minimum", "f8"), ("maximum", "f8"), ("last", "f8"),
        ("first", "f8"), ("first_ns", "i8"), ("last_ns", "i8"), ("zeros", "i8"), ("nonfinite", "i8"),
        # The first and the last bucket at scale 6, of the values above 0 and of those below.
        ("low", "i8", (2,)), ("high", "i8", (2,)), ("unused", "i8"),
    ]
)  # fmt: skip
_EMPTY: Final = np.zeros(1, _ROW)
_EMPTY["minimum"], _EMPTY["maximum"] = math.inf, -math.inf
_EMPTY["first_ns"], _EMPTY["last_ns"] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
# The first bucket of no values is beyond any, and the last before any.
_EMPTY["low"], _EMPTY["high"] = 2**40, -(2**40)
_WINDOW: Final = np.dtype([("first", "i8"), ("size", "i8"), ("start", "i8"), ("shift", "i8")])
# Half as long as those of a histogram, since it is their lines of the processor's cache that a record waits for.
_COUNT: Final = np.dtype("u4")
MOST_RECORDS: Final = 2**32 - 1
"""So many records may a tally take in between two closes, so that no count overflows."""
# A window that has been outgrown gets so many buckets more on each side: a factor of 1.4 at scale 6.
_HEADROOM: Final = 32
# Beyond so many buckets for each value, values are counted one by one.
_SPARSE: Final = 8
_MOST_NARROW: Final = 2**16
_FEWEST_ROWS: Final = 64
# Windows are kept for the next interval while there are at most so many times as many as were used.
_MOST_IDLE: Final = 2
_ABOVE, _BELOW = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """
    The rows of a batch by series: which ids occur, how often, and where in an arranged column.

    ``numpy.minimum.reduceat(groups.arrange(column), groups.starts)`` has one row for each of
    ``ids``. Rows of one series keep their order; ``order`` is None where nothing has to move.
    """

    ids: Integers
    starts: Integers
    sizes: Integers
    order: npt.NDArray[np.intp] | None = None

    def arrange(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return *column* series by series: a copy, or the column itself if nothing has to move."""
        return column if self.order is None else column[self.order]

    def places(self, arranged: Integers) -> Integers:
        """Return which rows of a column stand at the places *arranged* of an arranged one."""
        return arranged if self.order is None else self.order[arranged]


def group(series: npt.NDArray[np.uint32]) -> Groups:
    """Group the rows of a batch by their series id; 4 ns a row if ids lie within 256 of each other, else 7."""
    if not series.size:
        return Groups(*np.zeros((3, 0), dtype=np.int64))
    span = int(series.max()) - int(series.min())
    if not span:
        return Groups(series[:1].astype(np.int64), np.zeros(1, dtype=np.int64), np.array([series.size]))
    # Narrow keys get numpy's radix sort, ten times faster than its stable sort of 32 bits. Ids may
    # wrap around: within the span they still differ.
    keys = series.astype(np.min_scalar_type(span))
    order = keys.argsort(kind="stable")
    if span < _MOST_NARROW:
        sizes = np.bincount(keys)
        sizes = sizes[sizes.nonzero()[0]]
        starts = sizes.cumsum() - sizes
    else:
        keys = keys.take(order)
        bounds = np.concatenate(([0], (keys[1:] != keys[:-1]).nonzero()[0] + 1, [keys.size]))
        starts, sizes = bounds[:-1], np.diff(bounds)
    return Groups(series[order[starts]].astype(np.int64), starts, sizes, order)


class Tally:
    """
    What records have come to, series by series, however they were cut into batches.

    *native* is the extension that takes them in, or None. Takes 200 bytes a series, 8 for each id, and 4
    for each bucket between a series' smallest and largest value and some on both sides: at most 2 x
    1,088 x 4 bytes. Costs some 50 microseconds a batch besides what its records cost.
    """

    def __init__(self, native: Any = NATIVE) -> None:
        self._native = native
        self._begin()

    def _begin(self) -> None:
        self._used = 0
        self.count = 0
        """How many records were taken in since the last close."""
        self._row_of = np.zeros(0, np.int64)
        self._rows = np.zeros(_FEWEST_ROWS, _ROW)
        self._sides = _Side(), _Side()

    def add(self, batch: Sequence[npt.NDArray[np.void]], factors: Floats) -> None:
        """Take in a *batch* of arrays of records; their values times their series' factor, by id, count."""
        self.count += sum(map(len, batch))
        if len(self._row_of) < len(factors):
            more = np.full(len(factors) - len(self._row_of), -1)
            self._row_of = np.concatenate((self._row_of, more))
        if self._native is None:
            counts = self._survey(joined(batch), factors)
            self._make_room()
            for number, rows, index, sizes in counts:
                self._sides[number].add(rows, index, sizes)
        else:
            self._count_natively(self._survey_natively(batch, factors))

    def close(self) -> dict[int, Reading]:
        """Return the reading of each series that has records, 5 us each, and begin anew."""
        shift, table = self._make_room(), self._rows[: self._used]
        is_held = table["count"] > 0
        held, shift = table[is_held], shift[is_held]
        above, below = (
            side.buckets(is_held, held["low"][:, number] >> shift, held["high"][:, number] >> shift)
            for number, side in enumerate(self._sides)
        )
        names = ("series", "count", "sum", "minimum", "maximum", "last", "first", "first_ns", "last_ns")
        columns = [held[name].tolist() for name in (*names, "zeros", "nonfinite")]
        scales = (FINEST_SCALE - shift).tolist()
        readings = {}
        for (
            series,
            count,
            total,
            low,
            high,
            last,
            first,
            first_ns,
            last_ns,
            zeros,
            nonfinite,
            scale,
            over,
            under,
        ) in zip(*columns, scales, above, below, strict=True):
            readings[series] = Reading(
                count, total, 0, low if low <= high else None, high if low <= high else None, last,
                Histogram(scale, zeros, nonfinite, over, under), first, first_ns, last_ns,
            )  # fmt: skip
        self._renew(len(held))
        return readings

    def _renew(self, held: int) -> None:
        """Forget all records; the windows stay for the next, unless most of the series had none."""
        self.count = 0
        if _MOST_IDLE * held < self._used:
            self._begin()
            return
        series = self._rows["series"][: self._used].copy()
        self._rows[: self._used] = _EMPTY
        self._rows["series"][: self._used] = series
        for side in self._sides:
            side.renew()

    def _survey_natively(self, batch: Sequence[npt.NDArray[np.void]], factors: Floats) -> Integers:
        """Take in all but the counts of buckets; return which one each value belongs to."""
        places = np.empty(sum(map(len, batch)), np.int64)
        begin = 0
        for records in batch:
            mine, done = places[begin : begin + len(records)], 0
            while done < len(records):
                done, self._used = self._native.survey(
                    records, factors, CARRIES, self._row_of, self._rows, mine, done, self._used
                )
                if done < len(records):
                    self._rows = np.concatenate((self._rows, np.zeros(len(self._rows), _ROW)))
            begin += len(records)
        return places

    def _count_natively(self, places: Integers) -> None:
        counted = self._count_into_windows(places, 0)
        if counted < len(places):
            self._make_room()
            counted = self._count_into_windows(places, counted)
        if counted < len(places):
            raise AssertionError("a window is too short for the values it was made for")

    def _count_into_windows(self, places: Integers, begin: int) -> int:
        """Count from place *begin* on; return up to which one, the first that lies outside of its window."""
        above, below = self._sides
        return int(self._native.count(places, above.windows, below.windows, above.counts, below.counts, begin))

    def _survey(self, records: npt.NDArray[np.void], factors: Floats) -> list[tuple[int, Integers, Integers, Integers]]:
        """Take in all but the counts of buckets; return what is to be counted: sign, rows, buckets, and of how many."""
        if not len(records):
            return []
        groups = group(np.ascontiguousarray(records["series"]))
        starts, sizes, mine = groups.starts, groups.sizes, factors[groups.ids]
        is_one = bool((mine == mine[0]).all())
        values = groups.arrange(records["value"]) * (mine[0] if is_one else mine.repeat(sizes))
        # A gauge may hold infinities, whose sum nobody looks at.
        with np.errstate(all="ignore"):
            sums = np.add.reduceat(values, starts)
            smallest, largest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
        rows, table, times = self._find(groups.ids), self._rows, records["time_ns"]
        table["count"][rows] += sizes
        with np.errstate(all="ignore"):
            table["sum"][rows] += sums
        table["minimum"][rows] = np.fmin(table["minimum"][rows], smallest)
        table["maximum"][rows] = np.fmax(table["maximum"][rows], largest)
        opening, closing = _ends(groups, times)
        first_ns, last_ns = times[groups.places(opening)], times[groups.places(closing)]
        is_first, is_last = first_ns < table["first_ns"][rows], last_ns >= table["last_ns"][rows]
        table["first_ns"][rows[is_first]], table["first"][rows[is_first]] = (
            first_ns[is_first],
            values[opening[is_first]],
        )
        table["last_ns"][rows[is_last]], table["last"][rows[is_last]] = last_ns[is_last], values[closing[is_last]]
        return self._place(rows, values, groups)

    def _find(self, ids: Integers) -> Integers:
        """Return the row of each series, a new one where there is none."""
        rows = self._row_of[ids]
        new = (rows < 0).nonzero()[0]
        if len(new):
            rows[new] = np.arange(self._used, self._used + len(new))
            self._used += len(new)
            self._row_of[ids] = rows
            if self._used > len(self._rows):
                self._rows = np.concatenate((self._rows, np.zeros(self._used, _ROW)))
            fresh = self._rows[self._used - len(new) : self._used]
            fresh[:] = _EMPTY
            fresh["series"] = ids[new]
        return rows

    def _place(self, rows: Integers, values: Floats, groups: Groups) -> list[tuple[int, Integers, Integers, Integers]]:
        """Find the buckets of *values*, which are arranged by series, and the first and last of each series."""
        if values.min() >= sys.float_info.min and values.max() < math.inf:
            signs = [(_ABOVE, index_normal(values), groups.sizes)]
        else:
            above, below = (values > 0) & (values < np.inf), (values < 0) & (values > -np.inf)
            kinds = above, below, values == 0
            positive, negative, zero = (np.add.reduceat(kind, groups.starts, dtype=np.int64) for kind in kinds)
            self._rows["zeros"][rows] += zero
            self._rows["nonfinite"][rows] += groups.sizes - positive - negative - zero
            signs = [(_ABOVE, indices(values[above]), positive), (_BELOW, indices(-values[below]), negative)]
        placed = []
        for number, index, some in signs:
            if len(index):
                held, sizes = rows[some > 0], some[some > 0]
                starts = sizes.cumsum() - sizes
                low, high = self._rows["low"][:, number], self._rows["high"][:, number]
                low[held] = np.minimum(low[held], np.minimum.reduceat(index, starts))
                high[held] = np.maximum(high[held], np.maximum.reduceat(index, starts))
                placed.append((number, held, index, sizes))
        return placed

    def _make_room(self) -> Integers:
        """
        Let the scale of each series fall so far that both signs fit, and each window reach from end to end.

        Returns by how much they have fallen.
        """
        low, high = self._rows["low"][: self._used], self._rows["high"][: self._used]
        shift = np.zeros(self._used, np.int64)
        while (is_wide := (high >> shift[:, None]) - (low >> shift[:, None]) >= WINDOW).any():
            shift += is_wide.any(axis=1)
        for number, side in enumerate(self._sides):
            side.make_room(low[:, number] >> shift, high[:, number] >> shift, shift)
        return shift


class _Side:
    """The counts of the buckets of one sign: for each row a window in one array."""

    def __init__(self) -> None:
        self.windows = np.zeros(0, _WINDOW)
        """Of each row: the first bucket, how many there are, where in `counts` they begin, and the scale below 6."""
        self.counts = np.zeros(0, _COUNT)

    def make_room(self, low: Integers, high: Integers, shift: Integers) -> None:
        """Let there be a window for the buckets *low* to *high* of each row, whose scale has fallen by *shift*."""
        before, counts = self.windows, self.counts
        more = np.zeros(len(low) - len(before), _WINDOW)
        # Windows are in the order in which they begin, by which a count finds its own.
        more["start"] = counts.size
        windows = np.concatenate((before, more))
        is_filled = low <= high
        is_short = (low < windows["first"]) | (high >= windows["first"] + windows["size"])
        self.windows = windows
        if not ((is_filled & is_short) | (shift != windows["shift"])).any():
            return
        # Most intervals need one window a series, and no more than that.
        headroom = _HEADROOM if counts.size else 0
        self.windows = windows = np.zeros(len(low), _WINDOW)
        windows["first"] = np.where(is_filled, low - headroom, 0)
        windows["size"] = size = np.where(is_filled, high - low + 1 + 2 * headroom, 0)
        windows["start"], windows["shift"] = size.cumsum() - size, shift
        self.counts = np.zeros(int(size.sum()), _COUNT)
        at = counts.nonzero()[0]
        row = before["start"].searchsorted(at, side="right") - 1
        old, new = before[row], windows[row]
        bucket = at - old["start"] + old["first"] >> new["shift"] - old["shift"]
        np.add.at(self.counts, bucket - new["first"] + new["start"], counts[at])

    def add(self, rows: Integers, index: Integers, sizes: Integers) -> None:
        """Count values in buckets *index* of scale 6, so many of each of *rows*."""
        windows = self.windows[rows]
        if windows["shift"].any():
            index >>= windows["shift"].repeat(sizes)
        index += (windows["start"] - windows["first"]).repeat(sizes)
        if self.counts.size <= _SPARSE * index.size:
            self.counts += np.bincount(index, minlength=self.counts.size).astype(_COUNT)
        else:
            np.add.at(self.counts, index, 1)

    def renew(self) -> None:
        """Forget the counts; a row whose scale has fallen gets a window when it has values again."""
        self.counts[:] = 0
        has_fallen = self.windows["shift"] > 0
        self.windows["size"][has_fallen] = self.windows["shift"][has_fallen] = 0

    def buckets(self, rows: npt.NDArray[np.bool_], low: Integers, high: Integers) -> list[Buckets]:
        """Return the buckets of *rows*, which reach from *low* to *high*."""
        windows = self.windows[rows]
        begin = (windows["start"] - windows["first"] + low) * COUNT_BYTES
        end = begin + (high - low + 1) * COUNT_BYTES
        memory = self.counts.astype(np.int64).tobytes()
        return [
            Buckets(first, memory[start:stop]) if start < stop else NO_BUCKETS
            for first, start, stop in zip(low.tolist(), begin.tolist(), end.tolist(), strict=True)
        ]


def _ends(groups: Groups, times: Integers) -> tuple[Integers, Integers]:
    """Return where in an arranged column the first and the last row of each series in time stand."""
    ends = groups.starts + groups.sizes
    if (times[1:] >= times[:-1]).all():
        return groups.starts, ends - 1
    arranged = groups.arrange(times)
    first, last = np.minimum.reduceat(arranged, groups.starts), np.maximum.reduceat(arranged, groups.starts)
    early = (arranged == first.repeat(groups.sizes)).nonzero()[0]
    late = (arranged == last.repeat(groups.sizes)).nonzero()[0]
    # Of equal times the first is the one that was written first, and the last the one written last.
    return early[early.searchsorted(groups.starts)], late[late.searchsorted(ends) - 1]
