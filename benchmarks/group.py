"""
What it costs to be one of several processes, and to lead them.

Real processes of one service call 20 or 200 watched functions each interval. The promise: who does not lead pays
less than a thousandth of a core, and a leader less than a hundredth for four processes of 20 functions.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import runner

import holter
from holter.monitor import Monitor

WORKER = """
import sys, threading, time
import holter

functions = [holter.watch(lambda: None, name=f"f{number}") for number in range(int(sys.argv[1]))]
with holter.start("service", samplers=[], recording=True):
    print("up", flush=True)
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    while not done.wait(0.05):
        for function in functions:
            function()
"""
INTERVALS = 8


def turns(monitor: Monitor, functions: list) -> tuple[list[float], list[float]]:
    """Return what turns of the leader cost, and views, in seconds of CPU time."""
    group = monitor._membership.group
    led, seen = [], []
    for _ in range(INTERVALS):
        for function in functions:
            function()
        time.sleep(1.0)
        snapshot = monitor.latest
        begun = time.thread_time()
        group.view(snapshot)
        seen.append(time.thread_time() - begun)
    record = group.turn

    def timed(own):
        begun = time.thread_time()
        whole = record(own)
        led.append(time.thread_time() - begun)
        return whole

    group.turn = timed
    for _ in range(INTERVALS):
        for function in functions:
            function()
        time.sleep(1.0)
    group.turn = record
    return led, seen


def main() -> None:
    print(runner.machine() if hasattr(runner, "machine") else sys.version)
    print(f"{'processes':>9} {'functions':>9} {'a turn of the leader':>21} {'a view':>10} {'who does not lead':>18}")
    for processes, count in ((1, 20), (4, 20), (4, 200), (16, 20)):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # noqa: S108 - a folder of its own
            os.environ["HOLTER_DIR"] = folder
            functions = [holter.watch(lambda: None, name=f"f{number}") for number in range(count)]
            monitor = Monitor("service", group="", samplers=[]).start()
            functions = [monitor.watch(lambda: None, name=f"f{number}") for number in range(count)]
            workers = [
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                for _ in range(processes - 1)
            ]
            for worker in workers:
                worker.stdout.readline()
            time.sleep(2)
            led, seen = turns(monitor, functions)
            follower = monitor._membership.group.leadership
            begun = time.thread_time()
            for _ in range(200):
                follower.hold(time.monotonic_ns())
            held = (time.thread_time() - begun) / 200
            for worker in workers:
                worker.communicate("")
            monitor.stop()
        lead = statistics.median(led[2:])
        print(f"{processes:>9} {count:>9} {lead * 1e3:>18.2f} ms {statistics.median(seen[2:]) * 1e3:>7.2f} ms {held * 1e6:>15.0f} us")
        if (processes, count) == (4, 20):
            assert lead < 0.01


if __name__ == "__main__":
    main()
