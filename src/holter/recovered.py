"""The totals of a dead process, put together from what it left: cells, what was folded, and later records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from holter import names
from holter.distribution import Histogram
from holter.folded import Folded
from holter.metric import LEVELS
from holter.model import Reading
from holter.record import CELL, CELLS_PER_BLOCK, GAUGE_CELL
from holter.series import Entry

_FOLLOWED_BY: Final = {
    names.CALL_DURATION: names.CALL_UNITS,
    names.STREAM_FIRST_ITEM: names.STREAM_ITEMS,
    names.STREAM_BETWEEN_ITEMS: names.STREAM_ITEMS,
}
_NO_CELL: Final = np.zeros(1, CELL)[0]


def distinct(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return the different ones of *numbers*, in ascending order."""
    # Not by numpy.unique, which imports numpy.ma where it is first called: in a forked child that waits for ever
    # if a thread of the parent was at the same import.
    ordered = np.sort(numbers)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


class Cells:
    """The cells of a file, summed over its rings block by block; 4 KiB a block."""

    def __init__(self) -> None:
        self._sums: dict[int, NDArray[np.void]] = {}
        self._levels: dict[int, NDArray[np.void]] = {}

    def add(self, block: int, memory: bytes) -> None:
        """Take in one ring's cells of *block*, which are those of a gauge as well as any other's."""
        one, level = np.frombuffer(memory, CELL), np.frombuffer(memory, GAUGE_CELL)
        sums = self._sums.setdefault(block, np.zeros(CELLS_PER_BLOCK, CELL))
        levels = self._levels.setdefault(block, np.zeros(CELLS_PER_BLOCK, GAUGE_CELL))
        is_first, is_used = levels["count"] == 0, level["count"] != 0
        with np.errstate(all="ignore"):
            for name in ("minimum", "maximum"):
                pick = np.fmin if name == "minimum" else np.fmax
                levels[name] = np.where(
                    is_first, level[name], np.where(is_used, pick(levels[name], level[name]), levels[name])
                )
            levels["last"] = np.where(is_used, level["last"], levels["last"])
            levels["count"] += level["count"]
            for name in ("count", "sum", "units", "begun"):
                sums[name] += one[name]

    def of(self, series: int) -> tuple[np.void, np.void]:
        """Return the cell of *series*, as a counter's and as a gauge's."""
        block, at = divmod(series, CELLS_PER_BLOCK)
        if block not in self._sums:
            return _NO_CELL, np.zeros(1, GAUGE_CELL)[0]
        return self._sums[block][at], self._levels[block][at]

    def series(self) -> set[int]:
        """Return the ids of the series that have been recorded, or begun."""
        return {
            block * CELLS_PER_BLOCK + at
            for block, sums in self._sums.items()
            for at in np.flatnonzero((sums["count"] != 0) | (sums["begun"] != 0)).tolist()
        }


class Totals(Mapping[int, Reading]):
    """
    The reading of each series since recording began, by id; made when it is asked for, some 50 µs.

    Counts, sums and units are those of the cells, and exact; extremes and histograms are what was
    folded with the records that came later. A series that was left out of the fold has those of
    the records that are left.
    """

    def __init__(self, entries: Mapping[int, Entry], cells: Cells, fold: Folded, records: NDArray[np.void]) -> None:
        self._entries, self._cells, self._fold, self._records = entries, cells, fold, records
        seen = cells.series()
        self._sources = _sources(entries)
        self._keys = {key: None for key in sorted(entries) if key in seen or fold.holds(key) or self._followed(key)}
        # The records that are not part of the fold, series by series in their order; found at first use.
        self._later: NDArray[np.intp] | None = None
        self._column: NDArray[np.uint32] = np.zeros(0, np.uint32)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __getitem__(self, key: int) -> Reading:
        if key not in self._keys:
            raise KeyError(key)
        series, factor = self._entries[key].series, self._entries[key].factor
        folded = self._fold.reading(key)
        if key in self._sources:
            return self._following(key, folded or Reading())
        reading = (folded or Reading()).merge(self._since(key))
        cell, level = self._cells.of(key)
        found = self._fold.cell(key)
        other = _NO_CELL if found is None else found
        count = int(cell["count"]) + int(other["count"])
        if folded is not None and count < folded.count:
            # It follows from others and has no cell, or its cells were cut off.
            return replace(reading, count=folded.count, sum=folded.sum, units=folded.units)
        if series.kind in LEVELS:
            return _with_level(replace(reading, count=count), level)
        with np.errstate(all="ignore"):
            total = float(cell["sum"] + other["sum"]) * factor
        return replace(reading, count=count, sum=total, units=int(cell["units"]) + int(other["units"]))

    def mark(self, key: int) -> object:
        """Return what differs whenever the reading of the series *key* does; some 5 µs."""
        cell, level = self._cells.of(key)
        return self._fold.mark(key), self._followed(key), cell.tobytes(), level.tobytes()

    def _followed(self, key: int) -> float:
        """Return what a counter that follows from others has come to, 0 for any other series."""
        counts = units = 0
        for source in self._sources.get(key, ()):
            found = self._fold.cell(source)
            for cell in (self._cells.of(source)[0], _NO_CELL if found is None else found):
                counts, units = counts + int(cell["count"]), units + int(cell["units"])
        return float(units if self._entries[key].series.name == names.CALL_UNITS else counts)

    def _following(self, key: int, folded: Reading) -> Reading:
        """Return the reading of a counter that follows from others, as the collector would have set it next."""
        value = self._followed(key)
        return folded if value <= folded.sum else replace(folded, count=folded.count + 1, sum=value)

    def _since(self, key: int) -> Reading:
        """Return the reading of the records of a series that are not part of the fold."""
        if self._later is None:
            later = np.flatnonzero(_is_later(self._records, self._fold))
            self._later = later[self._records["series"][later].argsort(kind="stable")]
            self._column = self._records["series"][self._later]
        start, end = self._column.searchsorted([key, key + 1]).tolist()
        records = self._records[self._later[start:end]]
        if not len(records):
            return Reading()
        values = records["value"]
        with np.errstate(all="ignore"):
            numbers = values[~np.isnan(values)]
            return Reading(
                count=len(records),
                sum=float(values.sum()),
                units=int(records["units"].sum()),
                minimum=float(numbers.min()) if len(numbers) else None,
                maximum=float(numbers.max()) if len(numbers) else None,
                last=float(values[-1]),
                histogram=Histogram.of(values),
                first=float(values[0]),
                first_ns=int(records["time_ns"][0]),
                last_ns=int(records["time_ns"][-1]),
            )


def _sources(entries: Mapping[int, Entry]) -> dict[int, list[int]]:
    """Return of each counter that follows from other series which those are: a call's work, the items of a stream."""
    roots: dict[object, list[int]] = {}
    parts: dict[int, list[int]] = {}
    for key, (series, scope, _) in entries.items():
        if series.parent is not None:
            parts.setdefault(series.parent, []).append(key)
        elif series.name in _FOLLOWED_BY:
            attributes = frozenset(series.attributes.items())
            roots.setdefault((scope, _FOLLOWED_BY[series.name], attributes), []).append(key)
    found = {}
    for key, (series, scope, _) in entries.items():
        if series.name in (names.CALL_UNITS, names.STREAM_ITEMS):
            own = roots.get((scope, series.name, frozenset(series.attributes.items())), [])
            found[key] = [*own, *(part for root in own for part in parts.get(root, ()))]
    return found


def _is_later(records: NDArray[np.void], fold: Folded) -> NDArray[np.bool_]:
    """Tell which records are not part of what was folded."""
    rings = distinct(records["ring"])
    if not len(rings):
        return np.zeros(0, np.bool_)
    cursors = np.array([fold.cursor(ring) for ring in rings.tolist()], np.int64)[rings.searchsorted(records["ring"])]
    series = distinct(fold.series())
    if not len(series):
        return np.ones(len(records), np.bool_)
    places = series.searchsorted(records["series"]).clip(max=len(series) - 1)
    is_new: NDArray[np.bool_] = (records["sequence"] > cursors) | (series[places] != records["series"])
    return is_new


def _with_level(reading: Reading, level: np.void) -> Reading:
    """Return the reading of a gauge with the extremes that its cells hold, where records were lost."""
    if not level["count"]:
        return reading
    last, low, high = (float(level[name]) for name in ("last", "minimum", "maximum"))
    lows = [one for one in (reading.minimum, low) if one is not None and one == one]  # noqa: PLR0124 - not-a-number
    highs = [one for one in (reading.maximum, high) if one is not None and one == one]  # noqa: PLR0124
    return replace(
        reading,
        last=last if reading.last is None else reading.last,
        minimum=min(lows, default=None),
        maximum=max(highs, default=None),
    )
