"""
What it costs to be watched from outside, and to watch.

Real processes call 5 or 50 watched functions, all of them many times an interval. The promise: a program that is
watched ten times a second takes as much CPU time a call as one that is not, and a look at one process of 5 functions
with the page drawn takes the watcher less than a twentieth of a core each second.

    python benchmarks/top.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import holter
from holter.chosen import chosen
from holter.view.screen import page
from holter.view.wanted import View
from holter.view.watched import Watched
from runner import Results, machine

LOOKS = 12
ROUNDS = 7
CASES = ((1, 5), (1, 50), (4, 5))


def work(functions: int) -> None:
    """Call so many functions; for each line on standard input print the CPU nanoseconds of one call since the last."""
    holter.start("service")
    watched = [holter.watch(lambda: None, name=f"f{number}") for number in range(functions)]
    asked = threading.Event()

    def read() -> None:
        for _ in sys.stdin:
            asked.set()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    print("up", flush=True)
    begun, calls = time.thread_time_ns(), 0
    while True:
        for call in watched:
            call()
        calls += functions
        if not calls % (functions * 2000):
            time.sleep(0.01)
        if asked.is_set():
            asked.clear()
            print((time.thread_time_ns() - begun) / calls, flush=True)
            begun, calls = time.thread_time_ns(), 0


def begun(functions: int) -> subprocess.Popen[str]:
    """Return a process that does so."""
    command = [sys.executable, __file__, "work", str(functions)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def asked(process: subprocess.Popen[str]) -> float:
    """Return the CPU nanoseconds of a call since it was asked last."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def looks(processes: int, functions: int) -> tuple[float, float]:
    """Return the median CPU seconds of a look at so many processes, and of drawing the page."""
    others = [begun(functions) for _ in range(processes)]
    seen, drawn = [], []
    watched = Watched(chosen("service")[0], 1.0)
    for _ in range(LOOKS):
        time.sleep(0.5)
        times = [time.process_time()]
        figures = watched.look()
        times.append(time.process_time())
        page(figures, View(), watched.courses, 120)
        times.append(time.process_time())
        seen.append(times[1] - times[0])
        drawn.append(times[2] - times[1])
    assert len(figures.processes) == processes
    for other in others:
        other.kill()
        other.wait()
    return statistics.median(seen[2:]), statistics.median(drawn[2:])


def being_watched() -> Results:
    """Return the CPU nanoseconds of a call with and without somebody who looks ten times a second, in turns."""
    process = begun(5)
    watched = Watched(chosen("service")[0], 0.1)
    values: dict[str, list[float]] = {"alone": [], "watched": []}
    asked(process)
    for _ in range(ROUNDS):
        for name, measured in values.items():
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                if name == "watched":
                    watched.look()
                time.sleep(0.1)
            measured.append(asked(process))
    process.kill()
    process.wait()
    return Results(values, "ns")


def empty(folder: Path) -> None:
    """Remove the recordings of those that were killed."""
    for path in folder.iterdir():
        path.unlink()


def main() -> None:
    if sys.argv[1:]:
        work(int(sys.argv[2]))
        return
    print(machine())
    with tempfile.TemporaryDirectory(prefix="holter-", dir="/dev/shm") as folder:
        os.environ["HOLTER_DIR"] = folder
        results = being_watched()
        results.show(reference="alone")
        assert results.ratio("watched", "alone") < 1.1, "who is watched pays for it"
        empty(Path(folder))
        print(f"{'processes':>9}{'functions':>11}{'a look':>12}{'a page':>12}")
        for processes, functions in CASES:
            seen, drawn = looks(processes, functions)
            empty(Path(folder))
            print(f"{processes:>9}{functions:>11}{seen * 1e3:>9.1f} ms{drawn * 1e3:>9.1f} ms")
            if (processes, functions) == (1, 5):
                assert seen + drawn < 0.05, "to watch takes more than a twentieth of a core"


if __name__ == "__main__":
    main()
