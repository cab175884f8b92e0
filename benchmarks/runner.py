"""
Side by side in one run: candidates in turns, medians, and what they were measured on.

    from runner import compare, each

    results = compare({"plain": each(plain), "watched": each(watched)}, unit="ns")
    results.show(reference="plain")
    assert results.ratio("watched", "plain") < 5
"""

from __future__ import annotations

import gc
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import repeat
from pathlib import Path

Measure = Callable[[], float]
"""Takes one measurement and returns it, in the unit that is named to `compare`."""


def each(call: Callable[[], object], *, times: int = 20_000) -> Measure:
    """Return a measure of the nanoseconds that one *call* takes, the bare loop subtracted."""

    def measure() -> float:
        return (_loop(call, times) - _loop(None, times)) / times

    return measure


def _loop(call: Callable[[], object] | None, times: int) -> int:
    begun = time.perf_counter_ns()
    if call is None:
        for _ in repeat(None, times):
            pass
    else:
        for _ in repeat(None, times):
            call()
    return time.perf_counter_ns() - begun


@dataclass(frozen=True)
class Results:
    """What was measured: for each candidate its values, round by round."""

    values: Mapping[str, list[float]]
    unit: str

    def median(self, name: str) -> float:
        """Return the candidate's median over the rounds."""
        return statistics.median(self.values[name])

    def ratio(self, name: str, reference: str) -> float:
        """Return the median of the ratios within each round, which a slow minute of the machine does not move."""
        return statistics.median(map(_divided, self.values[name], self.values[reference]))

    def difference(self, name: str, reference: str) -> float:
        """Return the median of the differences within each round."""
        return statistics.median(map(_subtracted, self.values[name], self.values[reference]))

    def show(self, *, reference: str) -> None:
        """Print one line a candidate: median, the middle half of the rounds, ratio to the *reference*."""
        width = max(map(len, self.values))
        print(f"{'':{width}}  {'median':>12}  {'middle half':>23}  {'ratio':>7}")
        for name, values in self.values.items():
            low, _, high = statistics.quantiles(values, n=4)
            middle = f"{low:,.1f} to {high:,.1f}"
            figure = f"{self.median(name):,.1f} {self.unit}"
            print(f"{name:{width}}  {figure:>12}  {middle:>23}  {self.ratio(name, reference):>7.2f}")


def _divided(one: float, other: float) -> float:
    return one / other


def _subtracted(one: float, other: float) -> float:
    return one - other


def compare(candidates: Mapping[str, Measure], *, unit: str, rounds: int = 15, packages: Iterable[str] = ()) -> Results:
    """
    Return *rounds* measurements of each candidate, taken in turns in a new order each round.

    One round before is thrown away. The garbage collector rests while a measurement is taken.
    Prints the versions of Python, numpy, holter and *packages*, and the CPU.
    """
    print(machine(packages))
    order, values = list(candidates), {name: list[float]() for name in candidates}
    shuffle = random.Random(0).shuffle
    for turn in range(rounds + 1):
        shuffle(order)
        for name in order:
            gc.collect()
            gc.disable()
            try:
                value = candidates[name]()
            finally:
                gc.enable()
            if turn:
                values[name].append(value)
    return Results(values, unit)


def machine(packages: Iterable[str] = ()) -> str:
    """Return one line on what the figures were measured on."""
    versions = [f"{name} {_version(name)}" for name in ("holter", "numpy", *packages)]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return " | ".join([python, *versions, f"{_cpu()} x {os.cpu_count()}", platform.system(), load])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "?"))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
