"""
Folding a batch costs at most 5 times one pass of `numpy.log2` and `numpy.bincount` over it, of one series 2.5 times.

The pass gives the same 64 buckets an octave, of all series together and wrong at some edges. The
fold groups the rows by series and makes the histograms. Each histogram costs some microseconds and
each of its buckets some nanoseconds whatever falls into it, so the promise is for batches of 10,000
values and more with about 1,000 a series; what fewer cost is shown.
"""

from __future__ import annotations

import time

import numpy as np

from holter.distribution import Floats, fold
from runner import Measure, compare

MOST = {1: 2.5, 10: 5.0, 100: 5.0}
FEWEST_PER_SERIES = 1000
VALUES_PER_MEASUREMENT = 1_000_000
ROUNDS = 25


def reference(values: Floats) -> object:
    """Count *values* as anybody would."""
    index = np.floor(np.log2(values) * 64).astype(np.int64)
    return np.bincount(index - index.min())


def folding(size: int, count: int) -> Measure:
    """Return a measure of the nanoseconds a value that the fold of *size* values of *count* series takes."""
    series = np.random.default_rng(0).integers(0, count, size).astype(np.uint32)
    values = seconds(size)
    repeats = VALUES_PER_MEASUREMENT // size

    def measure() -> float:
        begun = time.perf_counter_ns()
        for _ in range(repeats):
            fold(series, values)
        return (time.perf_counter_ns() - begun) / (repeats * size)

    return measure


def passing(size: int) -> Measure:
    """Return a measure of the nanoseconds a value that the reference takes."""
    values = seconds(size)
    repeats = VALUES_PER_MEASUREMENT // size

    def measure() -> float:
        begun = time.perf_counter_ns()
        for _ in range(repeats):
            reference(values)
        return (time.perf_counter_ns() - begun) / (repeats * size)

    return measure


def seconds(size: int) -> Floats:
    """Return durations as services have them: around 2.5 ms, some 100 times longer or shorter."""
    return np.random.default_rng(1).lognormal(-6, 1, size)


# malloc gives large blocks back to the system, and page faults then cost more than the work, until a
# larger one was freed once: as in any process that has held a model.
np.ones(4_000_000)

broken = []
for size in (10_000, 100_000):
    print(f"\n{size:,} values")
    names = {count: f"fold, {count} series" for count in MOST}
    candidates = {"log2 + bincount": passing(size)} | {name: folding(size, count) for count, name in names.items()}
    results = compare(candidates, unit="ns", rounds=ROUNDS)
    results.show(reference="log2 + bincount")
    for count, most in MOST.items():
        ratio = results.ratio(names[count], "log2 + bincount")
        if size >= FEWEST_PER_SERIES * count and ratio > most:
            broken.append(f"{size:,} values of {count} series: {ratio:.2f} x, promised at most {most} x")
assert not broken, broken
