"""
What a call costs whose data is sampled, beside the same call that is not; and what sampling takes of a busy program.

A watched predict of a batch of 256 rows of 30 floats, whose input and output are copied, takes at most 30 us longer.
A program that does nothing but call loses at most 3 %: a hundredth of a core for copies, and what the checks do.

    python benchmarks/observing.py
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import holter
from holter.noted import WANTED
from holter.observing import Look
from runner import Measure, compare

MOST_ADDED_US = 30.0
MOST_LOST = 0.03
MONITOR = holter.Monitor("observing", samplers=[], recording=False)
OBSERVATIONS = MONITOR._scope.observations  # noqa: SLF001 - what is measured lies inside


BATCH = np.random.default_rng(0).normal(size=(256, 30))
NAMES = [f"feature_{number}" for number in range(30)]
FRAME = pd.DataFrame(BATCH, columns=NAMES)
RESULT = BATCH[:, 0]
ROW = dict(zip(NAMES, BATCH[0].tolist(), strict=True))


def scores(batch: Any) -> Any:
    del batch
    return RESULT


def observed(name: str, value: Any, *sources: str, times: int = 500) -> tuple[Measure, Measure]:
    """Return what measures the microseconds of a call whose data is not sampled, and of one whose is."""
    predict = MONITOR.watch(scores, name=name)
    wishes = [Look(holter.Wanted.of(predict, source)) for source in sources]  # type: ignore[arg-type]  # one of the two
    OBSERVATIONS.add(name, wishes)
    lookout = next(one for one in OBSERVATIONS._lookouts.values() if one.name == name)  # noqa: SLF001 - as above

    def measure(*, is_sampled: bool) -> float:
        spent = []
        for _ in range(times):
            lookout.rest()
            if is_sampled:
                lookout._turns.append(None)  # noqa: SLF001 - as above
                lookout._words[WANTED] = 1  # noqa: SLF001 - as above
                lookout.is_wanted[0] = True
            begun = time.perf_counter_ns()
            predict(value)
            spent.append(time.perf_counter_ns() - begun)
            OBSERVATIONS._waiting.clear()  # noqa: SLF001 - as above
        return statistics.median(spent) / 1e3

    return functools.partial(measure, is_sampled=False), functools.partial(measure, is_sampled=True)


def rate(checks: list[Any]) -> Callable[[], float]:
    """Return what measures how many calls of 100 us a second a program makes that is judged by *checks*."""

    def measure() -> float:
        with holter.Monitor("rate", samplers=[], recording=False, checks=checks, fold=MONITOR._fold):  # noqa: SLF001 - so that the function is its
            begun = time.thread_time_ns()
            deadline, calls = time.perf_counter() + 1.0, 0
            while time.perf_counter() < deadline:
                for _ in range(20):
                    BUSY(BATCH)
                calls += 20
            # By CPU time: what others take of a busy machine is not what this is about.
            return calls / ((time.thread_time_ns() - begun) / 1e9)

    return measure


def work(batch: Any) -> Any:
    return np.tanh(batch)[:, 0]


BUSY = MONITOR.watch(work, name="busy")


def main() -> None:
    watched, both = observed("batch, input and output", BATCH, "inputs", "outputs")
    _, single = observed("batch of float32, input and output", BATCH.astype("f4"), "inputs", "outputs")
    _, row = observed("a dict of 30 numbers", ROW, "inputs")
    _, frame = observed("a pandas frame of 256 x 30", FRAME, "inputs", times=50)
    _, records = observed("a list of 256 such dicts", [ROW] * 256, "inputs", times=20)
    results = compare(
        {
            "not sampled": watched,
            "batch, input and output": both,
            "the same in float32": single,
            "a dict of 30 numbers": row,
            "a pandas frame of 256 x 30": frame,
            "a list of 256 such dicts": records,
        },
        unit="us",
        packages=("pandas",),
    )
    results.show(reference="not sampled")
    added = results.difference("batch, input and output", "not sampled")
    print(f"\nadded to a call of a batch whose input and output are copied: {added:.1f} us")
    rates = compare(
        {"not observed": rate([]), "observed": rate([holter.NonFinite(BUSY), holter.OutOfRange(BUSY, low=-1, high=1)])},
        unit="calls/s",
    )
    rates.show(reference="not observed")
    lost = 1 - rates.ratio("observed", "not observed")
    print(f"\na program that only calls loses to samples {100 * lost:.1f} % of its CPU time")
    assert added <= MOST_ADDED_US, f"{added:.1f} us are more than {MOST_ADDED_US}"
    assert lost <= MOST_LOST, f"{lost:.1%} is more than {MOST_LOST:.0%}"


if __name__ == "__main__":
    main()
