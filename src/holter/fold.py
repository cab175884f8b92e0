"""Drained records and cells to Snapshots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from holter import names
from holter.distribution import Histogram
from holter.metric import LEVELS
from holter.model import ErrorPlace, OpenCall, Process, Reading, Series, Snapshot
from holter.record import CELL, CELL_WORDS, CELLS_PER_BLOCK
from holter.recorder import RECORDER, Recorder
from holter.ring import selected
from holter.scope import Scope
from holter.slowfold import SlowFold
from holter.tally import MOST_RECORDS, Tally

MOST_WAITING: Final = 8_192
"""Once so many records wait, 256 KiB, they are folded; until then, each drain costs no more than reading the rings."""

_EMPTY: Final = Reading()


class Fold:
    """
    The figures of one scope, from one interval to the next.

    Costs some nanoseconds a record and some microseconds a series that has moved. Memory: a
    Reading a series (1 KiB, with a wide histogram up to 17 KiB), twice for those that moved.
    Whoever calls has the recorder to itself.
    """

    def __init__(self, scope: Scope, process: Process, *, most_tallied: int = MOST_RECORDS) -> None:
        self.scope, self._most_tallied = scope, most_tallied
        self.process = process
        self.slow = SlowFold(scope)
        self.reset()

    def reset(self) -> None:
        """Forget all figures, as a forked child does, whose rings are new."""
        self._backlog: list[np.ndarray] = []
        self._waiting = 0
        self._tally = Tally()
        self._tallied: dict[int, Reading] = {}
        """What the tally had come to when it was full."""
        self._factors = np.zeros(0)
        self._factors_version = -1, -1
        self._total: dict[int, Reading] = {}
        self._series: Mapping[int, Series] = MappingProxyType({})
        self._roots = np.zeros(0, np.int64)
        self._table_version = -1, -1
        self._counts = np.zeros(0, np.int64)
        self._direct: dict[int, float] = {}
        self._last_ns = self.process.started_ns
        self.slow.reset()

    def add(self, records: np.ndarray) -> None:
        """Take in drained *records* of this scope, to be folded when the interval ends or many have come."""
        self._backlog.append(records)
        self._waiting += len(records)
        if self._waiting >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Fold the records that wait; what ends an interval does so by itself."""
        backlog, self._backlog, self._waiting = self._backlog, [], 0
        if backlog:
            self._learn_factors()
            if self._tally.count + sum(map(len, backlog)) > self._most_tallied:
                self._tallied = self._close_tally()
            self._tally.add(backlog, self._factors)
            self.slow.add(backlog)

    def _learn_factors(self) -> None:
        table = self.scope.table
        if table.version != self._factors_version:
            self._factors_version, entries = table.version, list(table.entries.copy().items())
            self._factors = np.ones(max(key for key, _ in entries) + 1)
            for key, entry in entries:
                self._factors[key] = entry.factor

    def _recorded(self) -> dict[int, Reading]:
        """Return what the records of this interval have come to, and forget them."""
        self.settle()
        readings, self._tallied = self._close_tally(), {}
        return readings

    def _close_tally(self) -> dict[int, Reading]:
        more = self._tally.close()
        return self._tallied | {key: self._tallied.get(key, _EMPTY).merge(reading) for key, reading in more.items()}

    def set(self, series: int, value: float) -> None:
        """Give a counter its total, or a gauge its value, without a record: for figures that follow from others."""
        self._direct[series] = value

    def counts(self) -> list[tuple[Series, int]]:
        """Return how many values each series has, as of now."""
        self._learn_series()
        counts = self._sum_cells()["count"].tolist()
        return [(series, counts[key]) for key, series in self._series.items()]

    def close(self, monotonic_ns: int, wall_ns: int, *, now: bool = False) -> Snapshot:
        """End the interval at *monotonic_ns* and return its reading; *now*, with what would else be waited for."""
        self._derive_left_out()
        self._learn_series()
        cells = self._sum_cells()
        open_calls = self._open_calls(monotonic_ns)
        self._derive(cells, open_calls)
        interval: dict[int, Reading] = {}
        total = dict(self._total)
        grown = np.flatnonzero(cells["count"] != _padded(self._counts, len(cells))).tolist()
        records = self._recorded()
        moved = [key for key in {*grown, *records} if key in self._series]
        for key, (count, sums, units, _) in zip(moved, cells[moved].tolist(), strict=True):
            before, recorded = total.get(key, _EMPTY), records.get(key, _EMPTY)
            if self._series[key].kind in LEVELS:
                interval[key], total[key] = self._gauge(key, count, recorded, before)
            else:
                whole = sums * self.scope.table.entries[key].factor
                interval[key] = recorded.counting(count - before.count, whole - before.sum, units - before.units)
                total[key] = before.merge(interval[key]).counting(count, whole, units)
        for key, value in self._direct.items():
            interval[key], total[key] = _followed(self._series[key], value, monotonic_ns, total.get(key, _EMPTY))
        self._counts, self._direct, self._total = cells["count"].copy(), {}, total
        interval_ns, self._last_ns = monotonic_ns - self._last_ns, monotonic_ns
        return Snapshot(
            time_ns=wall_ns,
            monotonic_ns=monotonic_ns,
            interval_ns=interval_ns,
            series=self._series,
            total=total,
            interval=interval,
            open_calls=open_calls,
            lost=self.scope.recorder.lost,
            process=self.process,
            error_places=self._error_places(),
            slow_calls=self.scope.guard.run(
                "slow calls",
                (),
                lambda: self.slow.close(monotonic_ns, wall_ns, self._series, interval, open_calls, now=now),
            ),
        )

    def _learn_series(self) -> None:
        table = self.scope.table
        if table.version == self._table_version:
            return
        self._table_version, entries = table.version, list(table.entries.copy().items())
        mine = {key: entry.series for key, entry in entries if entry.scope == self.scope.number}
        self._series = MappingProxyType(mine)
        self._roots = np.zeros(max((key for key, _ in entries), default=0) + 1, np.int64)
        for key, series in mine.items():
            self._roots[key] = key if series.parent is None else series.parent

    def _sum_cells(self) -> np.ndarray:
        return summed_cells(self.scope.recorder, len(self._roots))

    def _gauge(self, key: int, count: int, recorded: Reading, before: Reading) -> tuple[Reading, Reading]:
        """Return the readings of a gauge: extremes since the start from its cells, the rest from records."""
        grown = count - before.count
        share = grown / recorded.count if recorded.count else 0.0
        interval = recorded.counting(grown, recorded.sum * share, recorded.units)
        total = before.merge(interval)
        lows, highs, last = [total.minimum], [total.maximum], total.last
        block, at = key // CELLS_PER_BLOCK, key % CELLS_PER_BLOCK * CELL_WORDS
        for ring in list(self.scope.recorder.all):
            cells = ring.cells.get(block)
            if cells is not None and cells[0][at]:
                _, newest, low, high = cells[1][at : at + CELL_WORDS]
                last = newest if last is None else last
                lows.append(_known(low))
                highs.append(_known(high))
        return interval, Reading(
            count, total.sum, total.units, min((one for one in lows if one is not None), default=None),
            max((one for one in highs if one is not None), default=None), last, total.histogram, total.first,
            total.first_ns, total.last_ns,
        )  # fmt: skip

    def _derive(self, cells: np.ndarray, open_calls: Iterable[OpenCall]) -> None:
        """Set what follows from cells and slots: calls in flight and their ages, work done, items."""
        length = len(self._roots)
        ended = np.bincount(self._roots, weights=cells["count"], minlength=length)
        units = np.bincount(self._roots, weights=cells["units"], minlength=length)
        oldest: dict[int, float] = {}
        for running in open_calls:
            oldest[running.series] = max(oldest.get(running.series, 0.0), running.age_seconds)
        for call in list(self.scope.calls.values()):
            if max(call) < length and cells["begun"][call.duration]:
                self.set(call.active, float(cells["begun"][call.duration] - ended[call.duration]))
                self.set(call.oldest, oldest.get(call.duration, 0.0))
                if units[call.duration]:
                    self.set(call.units, float(units[call.duration]))
        for item in list(self.scope.items.values()):
            made = cells["count"][item.first] + cells["count"][item.between] if max(item) < length else 0
            if made:
                self.set(item.items, float(made))

    def _derive_left_out(self) -> None:
        left_out = self.slow.left_out()
        if left_out:
            self.set(self.scope.series(names.SLOW_CALLS_DROPPED, "{call}", "counter"), left_out)

    def _open_calls(self, monotonic_ns: int) -> tuple[OpenCall, ...]:
        return tuple(
            OpenCall(
                name=_owner(self._series[series]),
                series=series,
                start_ns=start_ns,
                age_seconds=max(0.0, (monotonic_ns - start_ns) / 1e9),
                thread=thread,
                task=task,
                asked_ns=asked_ns,
            )
            for start_ns, series, thread, task, asked_ns in sorted(self.scope.recorder.open_calls())
            if series in self._series
        )

    def _error_places(self) -> tuple[ErrorPlace, ...]:
        """Return where errors came from, the most frequent first."""
        counts: Counter[tuple[int, str, str]] = Counter()
        for ring in list(self.scope.recorder.all):
            counts.update(dict(ring.places))
        return tuple(
            ErrorPlace(_owner(self._series[series]), error_type, place, count)
            for (series, error_type, place), count in counts.most_common()
            if series in self._series
        )


def summed_cells(recorder: Recorder, length: int, *, filed: bool = True) -> np.ndarray:
    """
    Return the cells by series id below *length*, summed over the rings; without those that are *filed*, if so wished.

    Of gauges, only the counts mean anything.
    """
    blocks = length // CELLS_PER_BLOCK + 1
    cells = np.zeros(blocks * CELLS_PER_BLOCK, CELL)
    integers, doubles = cells.view(np.int64).reshape(blocks, -1), cells.view(np.float64).reshape(blocks, -1)
    for ring in list(recorder.all):
        number = None if filed else recorder.filed.get(id(ring))
        for block, (words, _) in list(ring.cells.copy().items()):
            if block >= blocks or (number is not None and (number, block) in recorder.filed_cells):
                continue
            one = np.frombuffer(words, np.int64).copy()
            with np.errstate(all="ignore"):
                sums = doubles[block, 1::CELL_WORDS] + one.view(np.float64)[1::CELL_WORDS]
            integers[block] += one
            doubles[block, 1::CELL_WORDS] = sums
    return cells[:length]


def _owner(series: Series) -> str:
    """Return the name of the call or of the training run that *series* is about."""
    named = series.attributes.get(names.CALL_NAME) or series.attributes.get(names.TRAINING_NAME)
    return str(named or series.name)


def _known(extreme: float) -> float | None:
    """Return *extreme*, or None for that of values none of which was a number."""
    return None if math.isnan(extreme) else extreme


def _padded(counts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.concatenate((counts[:length], np.zeros(max(0, length - len(counts)), np.int64)))


def _followed(series: Series, value: float, monotonic_ns: int, before: Reading) -> tuple[Reading, Reading]:
    """Return the interval's and the total reading of a figure that was set instead of recorded."""
    if series.kind == "counter":
        grown = value - before.sum
        interval = Reading(1, grown, last=grown, first=grown, first_ns=monotonic_ns, last_ns=monotonic_ns)
        merged = before.merge(interval)
        return interval, merged.counting(merged.count, value, merged.units)
    histogram = _histogram_of_one(value)
    interval = Reading(1, value, 0, value, value, value, histogram, value, first_ns=monotonic_ns, last_ns=monotonic_ns)
    return interval, before.merge(interval)


@lru_cache(maxsize=256)
def _histogram_of_one(value: float) -> Histogram:
    return Histogram.of([value])


class Router:
    """
    Takes records out of a recorder and hands each to the fold of its scope.

    Scopes share their process's rings, so whoever drains, drains for all of them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        recorder.after_fork.append(self._forked)
        self._folds: WeakValueDictionary[int, Fold] = WeakValueDictionary()
        self._scopes = np.zeros(0, np.int64)
        self._sole: int | None = None
        """The scope of all series there are, where that is one."""
        self._table_version = -1, -1

    def attach(self, fold: Fold) -> None:
        """Let *fold* have its scope's records from here on, as long as somebody holds it."""
        self._folds[fold.scope.number] = fold

    def drain(self) -> int:
        """Drain all rings and fold what came; return the number of records. The caller has the recorder to itself."""
        count, folds = 0, list(self._folds.values())
        for fold in folds:
            fold.slow.take()
        for records in self._recorder.drain():
            count += len(records)
            self._learn_scopes()
            for fold in folds:
                if self._sole == fold.scope.number:
                    fold.add(records)
                    continue
                mine = self._scopes[records["series"]] == fold.scope.number
                if mine.any():
                    fold.add(selected(records, mine))
        return count

    def _forked(self) -> None:
        self._table_version = -1, -1
        for fold in list(self._folds.values()):
            fold.reset()

    def _learn_scopes(self) -> None:
        table = self._recorder.table
        if table.version == self._table_version:
            return
        self._table_version, entries = table.version, list(table.entries.copy().items())
        self._scopes = np.zeros(max(key for key, _ in entries) + 1, np.int64)
        for key, entry in entries:
            self._scopes[key] = entry.scope
        numbers = {entry.scope for _, entry in entries}
        self._sole = numbers.pop() if len(numbers) == 1 else None


ROUTER: Final = Router(RECORDER)
