"""How rates went over the last minutes, in bins of one interval, and a line of letters that shows it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from holter import names
from holter.history import History
from holter.model import Snapshot

Key = tuple[str, str, int | None]
"""Of what: "calls", "steps" or "items"; the name; the process, None for all."""

MOST_BINS: Final = 300
_BARS: Final = "▁▂▃▄▅▆▇█"
_SOURCES: Final = {
    names.CALL_DURATION: ("calls", names.CALL_NAME),
    names.TRAINING_STEP_DURATION: ("steps", names.TRAINING_NAME),
    names.STREAM_ITEMS: ("items", names.CALL_NAME),
}


class Courses:
    """
    The rates of each call, training run and stream, the newest last; at most 300 of each, 10 KiB.

    Bins are *interval_seconds* long. What a recording's own history tells comes before what was seen since.
    """

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._bins: dict[Key, deque[float]] = {}

    def seed(self, history: History, now_ns: int, process: int | None) -> None:
        """Take in what was before *now_ns*, Unix time, as one process has it; once, before anything is added."""
        ends, seconds = history.times_ns(), history.seconds()
        if not len(ends):
            return
        # How much there was by the end of each interval, and by the edges of the bins.
        times = np.concatenate(([ends[0] / 1e9 - seconds[0]], ends / 1e9))
        # Up to the last interval that is whole, and nothing since; but the next one is due only when it is over.
        since = (now_ns / 1e9 - times[-1]) // self.interval_seconds
        last = times[-1] + self.interval_seconds * max(0.0, since - 1)
        bins = min(MOST_BINS, max(0, math.ceil((last - times[0]) / self.interval_seconds)))
        edges = last - self.interval_seconds * np.arange(bins, -1, -1)
        for key, series in history.series.items():
            kind, attribute = _SOURCES.get(series.name, ("", ""))
            if not kind:
                continue
            column = history.column(key)
            grown = np.concatenate(([0.0], np.cumsum(column["sum" if kind == "items" else "count"])))
            if kind == "items":
                grown = np.maximum(grown, 0.0)
            rates = np.diff(np.interp(edges, times, grown)) / self.interval_seconds
            name = str(series.attributes.get(attribute, ""))
            for whose in {process, None}:
                self._merge((kind, name, whose), rates)

    def _merge(self, key: Key, rates: Iterable[float]) -> None:
        before, new = list(self._bins.get(key, ())), list(rates)
        length = max(len(before), len(new))
        padded = [[0.0] * (length - len(each)) + each for each in (before, new)]
        self._bins[key] = deque((one + other for one, other in zip(*padded, strict=True)), maxlen=MOST_BINS)

    def add(self, moments: Iterable[tuple[Snapshot, int | None]]) -> None:
        """Add one bin to each, from the intervals of snapshots of processes, or of None for all of them."""
        known: dict[Key, float] = {}
        for snapshot, process in moments:
            seconds = snapshot.interval_ns / 1e9
            for number, reading in snapshot.interval.items():
                series = snapshot.series.get(number)
                kind, attribute = _SOURCES.get("" if series is None else series.name, ("", ""))
                if kind and series is not None and seconds > 0:
                    key = kind, str(series.attributes.get(attribute, "")), process
                    amount = max(0.0, reading.sum) if kind == "items" else reading.count
                    known[key] = known.get(key, 0.0) + amount / seconds
        for key in known:
            self._bins.setdefault(key, deque(maxlen=MOST_BINS))
        for key, bins in self._bins.items():
            bins.append(known.get(key, 0.0))

    def of(self, kind: str, name: str, process: int | None = None) -> list[float]:
        """Return the rates of one, the newest last; none where it is not known."""
        return list(self._bins.get((kind, name, process), ()))


def sparkline(values: Sequence[float], width: int) -> str:
    """
    Return the last *width* of *values* as bars from nothing to the largest, one letter each.

    What is nothing is a low dot, so that it can be told from a little.
    """
    shown = [value if math.isfinite(value) and value > 0 else 0.0 for value in values[-width:]] if width > 0 else []
    largest = max(shown, default=0.0)
    return "".join(
        _BARS[min(7, max(0, math.ceil(8 * value / largest) - 1))] if value else "·" for value in shown
    ).rjust(max(0, width))
