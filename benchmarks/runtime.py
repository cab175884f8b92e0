"""
What it costs to know what slow calls lost their time to: a collection that is timed, a look, a call that is explained.

    python benchmarks/runtime.py
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import holter
from holter import gctimer
from holter.gctimer import CollectionTimer
from holter.pauses import PAUSES, Sufferer
from holter.ring import NATIVE
from holter.samplers.runtime import RuntimeSampler
from runner import Measure, compare

MONITOR = holter.Monitor("runtime", samplers=[])
LOOKS = 200


def each(call: Callable[[], object], times: int = 2_000) -> Measure:
    """Return a measure of the CPU time that one *call* takes, in nanoseconds: others on the machine don't count."""

    def measure() -> float:
        begun = time.thread_time_ns()
        for _ in range(times):
            call()
        return (time.thread_time_ns() - begun) / times

    return measure


def collected(native: object) -> Measure:
    """Return a measure of the two calls that a collection makes."""
    callback, info = CollectionTimer(native).callback, {"generation": 0, "collected": 0, "uncollectable": 0}

    def collection() -> None:
        callback("start", info)
        callback("stop", info)

    return each(collection)


def collection() -> float:
    """Return the nanoseconds that a collection of young garbage takes, with nothing that times it."""
    taken = 0
    for _ in range(200):
        kept = [[] for _ in range(700)]
        begun = time.thread_time_ns()
        gc.collect(0)
        taken += time.thread_time_ns() - begun
        del kept
    return taken / 200


def look() -> float:
    """Return the CPU time of one look of the sampler, in nanoseconds."""
    sampler = RuntimeSampler()
    record = lambda *_, **__: None  # noqa: E731 - what records is measured elsewhere
    sampler.sample(record)
    begun = time.thread_time_ns()
    for _ in range(LOOKS):
        sampler.sample(record)
    taken = time.thread_time_ns() - begun
    sampler.close()
    return taken / LOOKS


def fill() -> None:
    """Fill all tables, so that to lay a call over them costs most."""
    for cause, table in PAUSES.tables.items():
        for number in range(2_000):
            table.add(number * 10**8, (number + 1) * 10**8, 10**7, whom=7 if cause != "throttling" else 0)


def explained() -> None:
    """Lay ten calls over all pauses that are kept, as at the end of an interval."""
    losses = PAUSES.look()
    for _ in range(10):
        losses.explain(1_500 * 10**8, 1_503 * 10**8, Sufferer(7, 8, 9))


def main() -> None:
    call = MONITOR.watch(lambda: None)
    call()
    gc.freeze()
    candidates: dict[str, Measure] = {"a collection of 700 objects": collection}
    if NATIVE is not None:
        candidates["timed in C"] = collected(NATIVE)
    candidates["timed in Python"] = collected(None)
    candidates["a look"] = look
    fill()
    candidates["ten calls explained"] = each(explained, times=50)
    gctimer.COLLECTIONS.use(candidates)
    results = compare(candidates, unit="ns")
    gctimer.COLLECTIONS.leave(candidates)
    results.show(reference="a collection of 700 objects")
    timed = "timed in C" if NATIVE is not None else "timed in Python"
    assert results.ratio(timed, "a collection of 700 objects") < 0.1, "it should be a small part of a collection"
    assert results.median("a look") * 5 < 0.002 * 1e9, "five looks a second should take no more than 0.2 % of a CPU"


if __name__ == "__main__":
    main()
