"""
Drain and fold cost, per record, at most 4 times one pass of `numpy.log2` and `numpy.bincount` over the same values.

The pass gives the same 64 buckets an octave, of all series together and wrong at some edges. What a
service pays beside it is measured on real rings: taking the records out of them (*drain*), making of
them what each series has come to (*fold*), and, once an interval, the readings and the snapshot
(*close*), which cost by the series and not by the record. A batch is what one drain brings: of one
thread, or of eight. The promise is for drain and fold where the extension is; what numpy alone takes is shown.
"""

from __future__ import annotations

import time

import numpy as np

from holter.fold import Fold, Router
from holter.model import Process
from holter.record import FIRST_RECORD_WORD, HEAD_WORD, LARGE_CAPACITY, RECORD, SEQUENCE_SHIFT, State
from holter.recorder import Recorder
from holter.ring import IMPLEMENTATION, NATIVE, Ring
from holter.scope import Scope
from runner import Measure, compare

MOST = 4.0
COUNTS = (1, 10, 100)
BATCHES = {10_000: 1, 100_000: 8}
"""Records in a batch, and the rings that they lie in."""
DRAINS = 10
ROUNDS = 15
REFERENCE = "log2 + bincount"
WHOLE = f"drain + fold, {DRAINS} an interval"
ALONE = "drain + fold, 1 an interval"


def seconds(size: int) -> np.ndarray:
    """Return durations as services have them: around 2.5 ms, some 100 times longer or shorter."""
    return np.random.default_rng(1).lognormal(-6, 1, size)


def passing(size: int) -> Measure:
    """Return a measure of the nanoseconds a value that anybody's count of *size* values takes."""
    values = seconds(size)

    def measure() -> float:
        begun = time.thread_time_ns()
        for _ in range(DRAINS):
            index = np.floor(np.log2(values) * 64).astype(np.int64)
            np.bincount(index - index.min())
        return (time.thread_time_ns() - begun) / (DRAINS * size)

    return measure


class Service:
    """A recorder with *rings*, in which *size* records of *count* series come again and again."""

    def __init__(self, size: int, rings: int, count: int) -> None:
        self.recorder = Recorder()
        self.router = Router(self.recorder)
        scope = Scope(recorder=self.recorder)
        self.fold = Fold(scope, Process("benchmark", started_ns=1))
        self.router.attach(self.fold)
        ids = np.array([scope.timer(f"app.m{number}") for number in range(count)])
        self.size, self.each = size, size // rings
        self.sequence = 0
        self.parts = []
        random, values = np.random.default_rng(0), seconds(size) * 1e9
        for part in np.split(values, rings):
            ring = Ring(LARGE_CAPACITY)
            self.recorder.all.append(ring)
            series = random.choice(ids, self.each)
            for key in ids.tolist():
                for value in part[series == key].tolist():
                    ring.write(key, 1, value, 1, 0)
            words = np.frombuffer(ring.memory, np.uint64)
            self.parts.append((words, words[FIRST_RECORD_WORD:].view(RECORD)[:LARGE_CAPACITY], part, series))
        self.sequence = self.each
        self.router.drain()
        self.fold.close(2, 2)

    def write(self) -> None:
        """Let the next records be there, as threads would have written them."""
        sequences = np.arange(self.sequence + 1, self.sequence + self.each + 1)
        at = (sequences - 1) % LARGE_CAPACITY
        for number, (words, records, values, series) in enumerate(self.parts):
            records["time_ns"][at] = 1000 * sequences + number
            records["value"][at], records["series"][at] = values, series
            records["commit"][at] = sequences << SEQUENCE_SHIFT | State.COMMITTED
            words[HEAD_WORD] = sequences[-1]
        self.sequence += self.each


def folding(size: int, rings: int, count: int, drains: int) -> Measure:
    """Return a measure of the nanoseconds a record that drain and fold take, *drains* of them in an interval."""
    service = Service(size, rings, count)

    def measure() -> float:
        spent = 0
        for _ in range(DRAINS // drains):
            for number in range(drains):
                service.write()
                begun = time.thread_time_ns()
                service.router.drain()
                if number == drains - 1:
                    service.fold.settle()
                spent += time.thread_time_ns() - begun
            service.fold.close(service.sequence, service.sequence)
        return spent / (DRAINS * size)

    return measure


def draining(size: int, rings: int, count: int) -> Measure:
    """Return a measure of the nanoseconds a record that the drain takes of that."""
    service = Service(size, rings, count)

    def measure() -> float:
        spent = 0
        for _ in range(DRAINS):
            service.write()
            begun = time.thread_time_ns()
            for _ in service.recorder.drain():
                pass
            spent += time.thread_time_ns() - begun
        return spent / (DRAINS * size)

    return measure


def closing(size: int, rings: int, count: int) -> Measure:
    """Return a measure of the nanoseconds a record that the end of an interval takes, after as many drains."""
    service = Service(size, rings, count)

    def measure() -> float:
        for _ in range(DRAINS):
            service.write()
            service.router.drain()
        service.fold.settle()
        begun = time.thread_time_ns()
        service.fold.close(service.sequence, service.sequence)
        return (time.thread_time_ns() - begun) / (DRAINS * size)

    return measure


# malloc gives large blocks back to the system, and page faults then cost more than the work, until a
# larger one was freed once: as in any process that has held a model.
np.ones(4_000_000)

broken = []
for size, rings in BATCHES.items():
    for count in COUNTS:
        print(f"\n{size:,} records a drain of {rings} ring(s), {count} series; {IMPLEMENTATION}")
        results = compare(
            {
                REFERENCE: passing(size),
                WHOLE: folding(size, rings, count, DRAINS),
                ALONE: folding(size, rings, count, 1),
                "drain alone": draining(size, rings, count),
                "close": closing(size, rings, count),
            },
            unit="ns",
            rounds=ROUNDS,
        )
        results.show(reference=REFERENCE)
        ratio = results.ratio(WHOLE, REFERENCE)
        if NATIVE is not None and ratio > MOST:
            broken.append(f"{size:,} records of {count} series: {ratio:.2f} x, promised at most {MOST} x")
assert not broken, broken
