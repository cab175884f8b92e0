"""
Four threads record as well as one: recording takes nothing from what threads keep of their speed.

Throughput of four threads over that of one, for a watched function and for the bare one. What the
interpreter's lock and the CPUs cost, both pay; what holter would add shows between the two.

    python benchmarks/threads.py
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import repeat

import holter
from runner import Measure, compare

MONITOR = holter.Monitor("threads", samplers=[])
CALLS = 400_000


def work(value: int) -> int:
    return value


def rate(function: Callable[[int], int], threads: int) -> Measure:
    """Return a measure of the calls that so many threads make in a microsecond, all together."""
    share = CALLS // threads

    def call(ready: threading.Barrier) -> None:
        ready.wait()
        for _ in repeat(None, share):
            function(1)

    def measure() -> float:
        ready = threading.Barrier(threads + 1)
        workers = [threading.Thread(target=call, args=(ready,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        ready.wait()
        begun = time.perf_counter_ns()
        for worker in workers:
            worker.join()
        return 1e3 * share * threads / (time.perf_counter_ns() - begun)

    return measure


def main() -> None:
    watched = MONITOR.watch(work)
    results = compare(
        {
            "bare, one thread": rate(work, 1),
            "bare, four threads": rate(work, 4),
            "watched, one thread": rate(watched, 1),
            "watched, four threads": rate(watched, 4),
        },
        unit="calls/µs",
    )
    results.show(reference="bare, one thread")
    bare = results.ratio("bare, four threads", "bare, one thread")
    kept = results.ratio("watched, four threads", "watched, one thread")
    print(f"\nfour threads keep {bare:.2f} bare and {kept:.2f} watched, which is {kept / bare:.2f} of it")
    assert kept / bare >= 0.9


if __name__ == "__main__":
    main()
