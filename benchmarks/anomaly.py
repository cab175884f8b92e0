"""
What it costs to judge every signal of a service: CPU time an update, of the whole check, and memory.

    python benchmarks/anomaly.py

CPU time is that of the process. The whole check: 2,000 calls of 12 values a second each, 12,000 signals, read each
second, with its figures. Memory is what the check holds after half an hour of it, as tracemalloc counts it: both
rhythms, the names, and what an interval collects; and what it takes for a moment beyond that.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from collections.abc import Generator
from statistics import median

import numpy as np

from holter.checks.anomaly import Anomaly
from holter.distribution import Histogram
from holter.metric import Series
from holter.model import Process, Reading, Snapshot
from holter.names import CALL_DURATION, CALL_NAME
from holter.surprise.detector import BLOCK, Detector
from runner import machine

CALLS, SIGNALS, VALUES = 2_000, 12_000, 12
ROUNDS = 7


def update_us(signals: int, *, blocks: int) -> float:
    """Return the microseconds of CPU that one update of so many signals takes, learning included; a median."""
    random = np.random.default_rng(1)
    detector = Detector(signals, step_seconds=10.0)
    values = random.normal(size=(BLOCK * blocks, signals))
    step, spent = 0, []
    for turn in range(ROUNDS + 1):
        begun = time.process_time()
        for value in values:
            step += 1
            detector.update(value, step * 10.0)
        spent.append((time.process_time() - begun) / len(values) * 1e6)
        if not turn:
            detector.ask(1e7)
    return median(spent[1:])


def snapshots(seconds: int) -> Generator[Snapshot]:
    """Yield what 2,000 calls say, second by second, each time one of 4,000 intervals that were made before."""
    random = np.random.default_rng(2)
    series = {
        key: Series(key, CALL_DURATION, "s", "histogram", {CALL_NAME: f"predict{key}"}, None) for key in range(CALLS)
    }
    pool = [
        Reading(VALUES, float(took.sum()), last=float(took[-1]), histogram=Histogram.of(took))
        for took in 0.02 * random.lognormal(0, 0.4, (4_000, VALUES))
    ]
    for second in range(seconds):
        picked = random.integers(0, len(pool), CALLS).tolist()
        interval = {key: pool[one] for key, one in enumerate(picked)}
        now_ns = 1_795_305_600_000_000_000 + second * 1_000_000_000
        yield Snapshot(now_ns, 1_000_000_000, series, {}, interval, process=Process("sentiment"))


def whole() -> None:
    """Print the share of a CPU that the whole check takes, and what saving does."""
    check, spent = Anomaly(), []
    for snapshot in snapshots(1_200):
        begun = time.process_time()
        check.judge(snapshot)
        list(check.figures())
        spent.append(time.process_time() - begun)
    print(f"whole check: {sum(spent[-600:]) / 600:.2%} of a CPU for {CALLS:,} histograms, {SIGNALS:,} signals")
    print(f"  longest: {max(spent[-600:]) * 1e3:.0f} ms")
    begun = time.process_time()
    size = len(json.dumps(check.save(), separators=(",", ":")))
    print(f"  saving, once a minute: {(time.process_time() - begun) * 1e3:.0f} ms, {size / 1e6:.1f} MB")


def memory() -> None:
    """Print how much memory a signal takes."""
    minutes = snapshots(1_799)
    first = next(minutes)
    gc.collect()
    tracemalloc.start()
    check = Anomaly()
    check.judge(first)
    for snapshot in minutes:
        check.judge(snapshot)
    # What the snapshots take is not the check's.
    minutes.close()
    del snapshot
    gc.collect()
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"memory: {held / 1024 / SIGNALS:.2f} KiB a signal, both rhythms, names and all ({held / 2**20:.0f} MiB)")
    print(f"  at most, for a moment: {most / 1024 / SIGNALS:.2f} KiB a signal")


def main() -> None:
    """Print what it costs."""
    print(machine())
    for signals, blocks in ((1, 30), (100, 30), (SIGNALS, 1)):
        spent = update_us(signals, blocks=blocks)
        print(f"update of {signals:,}: {spent:,.0f} us, {spent / signals:.2f} us a signal")
    whole()
    memory()


if __name__ == "__main__":
    main()
