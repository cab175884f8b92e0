"""The levels that a snapshot tells: the memory of each process, of its children, of each GPU, or one metric's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from holter import names
from holter.measure import Measure
from holter.metric import LEVELS, Series
from holter.model import Reading, Snapshot
from holter.room import Rooms
from holter.words import clean

PROCESS_MEMORY: Final = "process.memory.usage"
_UPTIME: Final = "process.uptime"
_BY_PROCESS: Final = frozenset(
    {PROCESS_MEMORY, _UPTIME, names.TREE_MEMORY_USAGE, names.TREE_PROCESSES, names.ALLOCATED_BLOCKS}
)
_OF_GPUS: Final = frozenset({names.GPU_MEMORY_USAGE, names.GPU_PROCESS_MEMORY})
_SAME_START_SECONDS: Final = 5.0
MOST_KNOWN: Final = 2_000

Owner = Literal["process", "children", "GPU", "metric"]


class Level(NamedTuple):
    """A level as it is now, by a ``key`` that stays: ``target`` says whose it is, ``started`` when that one began."""

    owner: Owner
    key: str
    target: str
    unit: str
    value: float
    device: str = ""
    started: float | None = None
    """Unix time in seconds; None where nobody tells."""

    def is_of(self, started: float | None) -> bool:
        """Whether its owner is the one that had *started* then: not another process with the same number."""
        if self.owner == "GPU":
            return True
        return started is not None and self.started is not None and abs(started - self.started) < _SAME_START_SECONDS


class Levels:
    """
    Reads out of snapshots the levels of one *measure*, or, without one, of all memory that the samplers tell.

    ``rooms`` knows the limits, ``parts`` what holds a part of a level: of a process the blocks of Python's allocator,
    of a GPU who uses it. ``load`` is how many calls ended in the interval. Costs 0.1 us a series that moved.
    """

    def __init__(self, measure: Measure | None = None) -> None:
        self.measure = measure
        self.rooms = Rooms()
        self.load = 0.0
        self.parts: dict[str, dict[str, float]] = {}
        """By the key of a level, what it has of each part."""
        self._known: dict[str, dict[int, float]] = {name: {} for name in _BY_PROCESS}

    def read(self, snapshot: Snapshot) -> list[Level]:
        """Return the levels that were sampled in the interval."""
        self.load, moved = 0.0, []
        for key, reading in snapshot.interval.items():
            series = snapshot.series.get(key)
            if series is None:
                continue
            if series.name == names.CALL_DURATION:
                self.load += reading.count
            elif series.kind in LEVELS and reading.last is not None and math.isfinite(reading.last):
                if series.name in Rooms.names:
                    self.rooms.take(series.name, series.attributes, reading.last)
                moved.append((series, reading))
        if self.measure is not None:
            return list(self._of_metric(self.measure, moved, snapshot))
        return [*self._of_processes(moved, snapshot), *self._of_gpus(moved)]

    def _of_metric(self, measure: Measure, moved: list[tuple[Series, Reading]], snapshot: Snapshot) -> Iterator[Level]:
        for series, reading in moved:
            if series.name == _UPTIME:
                self._note(series, snapshot.time_ns / 1e9 - (reading.last or 0.0), snapshot)
        for series, reading in moved:
            if series.matches(measure.name, measure.where):
                rest = ", ".join(f"{key}={value}" for key, value in sorted(series.attributes.items()))
                words = clean(f"{series.name}{{{rest}}}" if rest else series.name, 200)
                pid = _pid(series, snapshot)
                started = self._known[_UPTIME].get(pid)
                yield Level("metric", words, words, series.unit, _floor(reading), "", started)

    def _note(self, series: Series, value: float, snapshot: Snapshot) -> None:
        known = self._known[series.name]
        known[_pid(series, snapshot)] = value
        if len(known) > MOST_KNOWN:
            known.pop(next(iter(known)))

    def _of_processes(self, moved: list[tuple[Series, Reading]], snapshot: Snapshot) -> Iterator[Level]:
        now: dict[str, dict[int, float]] = {PROCESS_MEMORY: {}, names.TREE_MEMORY_USAGE: {}}
        for series, reading in moved:
            if series.name in _BY_PROCESS:
                value = _floor(reading)
                self._note(series, snapshot.time_ns / 1e9 - value if series.name == _UPTIME else value, snapshot)
                if series.name in now:
                    now[series.name][_pid(series, snapshot)] = value
        started, blocks = self._known[_UPTIME], self._known[names.ALLOCATED_BLOCKS]
        for pid, value in now[PROCESS_MEMORY].items():
            level = Level("process", f"process {pid}", f"process {pid}", "By", value, "", started.get(pid))
            if pid in blocks:
                self.parts[level.key] = {"blocks": blocks[pid]}
            yield level
        for pid, value in now[names.TREE_MEMORY_USAGE].items():
            if self._known[names.TREE_PROCESSES].get(pid, 1.0) > 1.0:
                # What the process itself has is told of it already.
                rest = max(0.0, value - self._known[PROCESS_MEMORY].get(pid, 0.0))
                words = f"the children of process {pid}"
                yield Level("children", words, words, "By", rest, "", started.get(pid))

    def _of_gpus(self, moved: list[tuple[Series, Reading]]) -> Iterator[Level]:
        gpus = [(series.attributes, series, reading) for series, reading in moved if series.name in _OF_GPUS]
        # What a part of a GPU has, the whole one has too.
        divided = {attributes.get(names.HARDWARE_PARENT) for attributes, _, _ in gpus}
        for attributes, series, reading in gpus:
            device = str(attributes.get(names.HARDWARE_ID, ""))
            if series.name == names.GPU_PROCESS_MEMORY:
                kind = str(attributes.get(names.GPU_PROCESS_TYPE, ""))
                self.parts.setdefault(f"GPU {device}", {})[kind] = reading.last or 0.0
            elif device not in divided:
                name = clean(str(attributes.get(names.HARDWARE_NAME, "GPU")))
                yield Level("GPU", f"GPU {device}", name, "By", _floor(reading), device)


def _pid(series: Series, snapshot: Snapshot) -> int:
    return int(series.attributes.get(names.PROCESS_PID, snapshot.process.pid))


def _floor(reading: Reading) -> float:
    """Return the lowest value of the interval: of several samples it tells most of what stays."""
    return (reading.last or 0.0) if reading.minimum is None or not math.isfinite(reading.minimum) else reading.minimum
