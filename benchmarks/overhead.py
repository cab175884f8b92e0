"""
`holter.overhead` tells the truth: within 0.5 to 2 x of what runs with and without holter differ by.

Programs of two threads do some 20 µs of work, a fixed number of times, in what is watched: a
function with a span inside, one that is tagged, one that fails, a coroutine, a generator. Each runs
with holter and without (HOLTER_DISABLED=1) in turns; the difference of their CPU time, as a share
of the run with holter, is what holter costs, and is compared with what holter says.

    python benchmarks/overhead.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from runner import machine

ROUNDS = 5
PROGRAM = """
import asyncio, sys, threading, time
import holter

kind, times = sys.argv[1], 40_000
words = [str(number) for number in range(120)]

def work():
    return sum(len(word.upper()) for word in words)

def spanning():
    with holter.span("count"):
        return work()

def tagged():
    holter.tag(model="v7")
    return work()

def failing():
    work()
    raise ValueError

async def coroutine():
    return work()

def stream():
    for _ in range(times):
        yield work()

watched = holter.watch(globals()[kind])

async def ask():
    for _ in range(times):
        await watched()

def serve():
    if kind == "stream":
        for _ in watched():
            pass
    elif kind == "coroutine":
        asyncio.run(ask())
    else:
        for _ in range(times):
            try:
                watched()
            except ValueError:
                pass

# Each figure is made at the end of an interval, of which even a fast machine is to see several.
with holter.start("overhead", interval_seconds=0.1) as monitor:
    begun = time.process_time()
    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.process_time() - begun
    found = monitor.snapshot().find("holter.overhead")
    print(spent, found.total.last if found and found.total.last is not None else 0.0)
"""


def run(kind: str, *, disabled: bool) -> tuple[float, float]:
    """Return the CPU seconds of the work, and the share that holter says it cost."""
    environment = {**os.environ, "HOLTER_DISABLED": "1" if disabled else "0"}
    command = [sys.executable, "-c", PROGRAM, kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    spent, said = map(float, done.stdout.split())
    return spent, said


def main() -> None:
    print(machine())
    ratios = {}
    for kind in ("spanning", "tagged", "failing", "coroutine", "stream"):
        measured, told = [], []
        for _ in range(ROUNDS):
            without, _ = run(kind, disabled=True)
            with_holter, said = run(kind, disabled=False)
            measured.append((with_holter - without) / with_holter)
            told.append(said)
        truth, said = statistics.median(measured), statistics.median(told)
        ratios[kind] = said / truth
        print(f"{kind:9}  measured {truth:.1%}, said {said:.1%}, ratio {ratios[kind]:.2f}; promised: 0.5 to 2")
    assert all(0.5 <= ratio <= 2 for ratio in ratios.values())


if __name__ == "__main__":
    main()
