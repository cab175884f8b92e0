"""A process that leaves a recording, in this one: rings in a file, and a collector whose turns a test decides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from holter._ring import Ring
from holter.clock import Clock
from holter.fold import Fold, Router
from holter.history import History
from holter.model import Alert, Process, Snapshot
from holter.record import CELL, CELLS_PER_BLOCK, EPOCH_WORD, SMALL_CAPACITY, STATE_WORD, THREAD_WORD, Ownership
from holter.recording import Recording
from holter.ring import RingReader
from holter.scope import Scope
from holter.segments import Space
from holter.series import SeriesTable

START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
SMALL = Space(segment_bytes=2**16, most_bytes=2**22)


class FakeTime:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND_NS
        self.clock = Clock(
            monotonic_ns=lambda: self.ns,
            wall_ns=lambda: START_NS + self.ns,
            thread_cpu_ns=lambda: 0,
        )


class Life:
    """
    What the recorder of a process has, its rings in a recording as far as that has any.

    A test writes to the rings, and calls `turn` for each interval of the collector.
    """

    def __init__(self, folder: Path, *, fake: FakeTime | None = None, space: Space = SMALL, **process: Any) -> None:
        clock = fake.clock if fake is not None else Clock()
        self.table, self.all, self.rings, self.after_fork, self.lost = SeriesTable(), [], {}, [], 0
        self._readers: dict[int, RingReader] = {}
        self._numbers: dict[int, int] = {}
        self.clock = clock
        self.scope = Scope(clock, recorder=self)
        started = {"started_ns": clock.monotonic_ns(), "pid": 1, "host": "gpu-3", **process}
        self.process = Process(**{"service": "sentiment", "version": "v7", **started})
        self.fold = Fold(self.scope, self.process)
        self.router = Router(self)
        self.router.attach(self.fold)
        self.history = History()
        folder.chmod(0o700)
        self.recording = Recording.create(self.process, clock=clock, folder=folder, space=space)

    @property
    def lookup(self) -> Any:
        """What the scope asks for the ring of a thread."""
        return lambda: self.all[0] if self.all else self.ring()

    def ring(self, capacity: int = SMALL_CAPACITY, *, in_file: bool = True) -> Any:
        """Return a new ring, in the file where that has one ready."""
        taken = self.recording.take_ring(capacity) if in_file else None
        if taken is None:
            ring = Ring(capacity)
        else:
            number, memory = taken
            ring = Ring(capacity, memory, lambda block: self.recording.take_cells(number, block))
            self._numbers[id(ring)] = number
        ring.words[EPOCH_WORD], ring.words[THREAD_WORD], ring.words[STATE_WORD] = 1, 77, Ownership.OWNED
        self.all.append(ring)
        return ring

    def drain(self) -> Iterator[np.ndarray]:
        """Yield what the rings have that was not read."""
        for ring in self.all:
            reader = self._readers.setdefault(id(ring), RingReader(ring.memory))
            records, lost = reader.read()
            self.lost += lost
            yield records

    def open_calls(self) -> list[tuple[int, int, int, int, int]]:
        """Return the calls that run."""
        return [
            (start, series, 77, task, asked)
            for ring in self.all
            for start, series, task, asked in RingReader(ring.memory).open_calls()
        ]

    def turn(self, *alerts: Alert, now: bool = False, own_history: bool = False) -> Snapshot:
        """End an interval, and write it down."""
        self.router.drain()
        snapshot = self.fold.close(self.clock.monotonic_ns(), self.clock.wall_ns())
        self.history.add(snapshot)
        self.recording.learn(self.table.entries)
        self.recording.remember(snapshot, alerts, None if own_history else self.history)
        self.recording.save([snapshot], self.cursors(), self.elsewhere(), now=now)
        self.recording.beat(self.clock.monotonic_ns(), self.clock.wall_ns(), self.lost)
        self.recording.stock()
        return snapshot

    def cursors(self) -> dict[int, int]:
        """Return how far the rings in the file were read."""
        return {number: self._readers[key].cursor for key, number in self._numbers.items() if key in self._readers}

    def elsewhere(self) -> np.ndarray:
        """Return the cells of the rings that are not in the file, by series."""
        cells = np.zeros((len(self.table.entries) // CELLS_PER_BLOCK + 1) * CELLS_PER_BLOCK + CELLS_PER_BLOCK, CELL)
        for ring in self.all:
            if id(ring) not in self._numbers:
                for block, (words, _) in ring.cells.items():
                    one = np.frombuffer(words, CELL)
                    for name in CELL.names:
                        cells[name][block * CELLS_PER_BLOCK :][:CELLS_PER_BLOCK] += one[name]
        return cells


def now_ns() -> int:
    """Return the time on the clock that stamps records."""
    return time.monotonic_ns()
