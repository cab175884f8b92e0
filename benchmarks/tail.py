"""
The slowest records do not wait for anybody: p99.9 with a frozen collector and a hanging exporter.

Each of 200,000 records is timed by itself, clock readings and all, while the collector is held in
the midst of its turn and an exporter does not come back; then while nothing is wrong. The ratio of
the two is what a user's thread feels of trouble inside holter.

    python benchmarks/tail.py
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import holter
from runner import Measure, compare

RECORDS = 200_000


class Hanging:
    """An exporter that comes back when it is told to."""

    every_seconds = 0.05

    def __init__(self) -> None:
        self.entered, self.free = threading.Event(), threading.Event()

    def export(self, snapshot: holter.Snapshot, alerts: Sequence[holter.Alert]) -> None:
        self.entered.set()
        self.free.wait()

    def close(self, timeout: float) -> None:
        self.free.set()


def tail(record: Callable[[], Any]) -> float:
    """Return the 99.9th percentile of how long a record takes, in nanoseconds."""
    taken = np.empty(RECORDS, np.int64)
    now = time.perf_counter_ns
    for place in range(RECORDS):
        begun = now()
        record()
        taken[place] = now() - begun
    return float(np.percentile(taken, 99.9))


def healthy(record: Callable[[holter.Monitor], Callable[[], Any]]) -> Measure:
    """Return a measure with a monitor that does what it should."""

    def measure() -> float:
        with holter.Monitor("healthy", samplers=[], interval_seconds=0.1).start() as monitor:
            return tail(record(monitor))

    return measure


def frozen(record: Callable[[holter.Monitor], Callable[[], Any]]) -> Measure:
    """Return a measure with a monitor whose collector cannot take its turn, and whose exporter hangs."""

    def measure() -> float:
        exporter = Hanging()
        monitor = holter.Monitor("frozen", samplers=[], interval_seconds=0.1, exporters=[exporter]).start()
        exporter.entered.wait()
        try:
            with monitor._turn:  # noqa: SLF001 - a collector that stands still
                return tail(record(monitor))
        finally:
            exporter.free.set()
            monitor.stop()

    return measure


def main() -> None:
    records: dict[str, Callable[[holter.Monitor], Callable[[], Any]]] = {
        "watched function": lambda monitor: monitor.watch(lambda: None, name="work"),
        "counter.add": lambda monitor: monitor.counter("app.records").add,
    }
    candidates = {}
    for name, record in records.items():
        candidates[f"{name}, healthy"] = healthy(record)
        candidates[f"{name}, frozen"] = frozen(record)
    results = compare(candidates, unit="ns")
    results.show(reference="watched function, healthy")
    for name in records:
        ratio = results.ratio(f"{name}, frozen", f"{name}, healthy")
        print(f"\n{name}: p99.9 with a frozen collector and a hanging exporter is {ratio:.2f} of the healthy one")
        assert ratio <= 2.0


if __name__ == "__main__":
    main()
