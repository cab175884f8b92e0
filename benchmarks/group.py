"""
What it costs to be one of several processes of a service, and to lead them.

Real processes call 20 or 200 watched functions, all of them each interval. The promise: to lead four processes of
20 functions takes less than a fiftieth of a core, and not to lead less than a ten-thousandth.

    python benchmarks/group.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from holter.monitor import Monitor
from runner import machine

INTERVALS = 8
CASES = ((1, 20), (4, 20), (4, 200), (16, 20))


def work(functions: int) -> None:
    """Be a member, until standard input ends."""
    with Monitor("service", group="", samplers=[]) as monitor:
        watched = [monitor.watch(lambda: None, name=f"f{number}") for number in range(functions)]
        over = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
        print("up", flush=True)
        while not over.wait(0.1):
            for call in watched:
                call()


def lead(functions: int) -> None:
    """Be the leader, and print the CPU seconds of its turns, of views, and of a look whether somebody else leads."""
    with Monitor("service", group="", samplers=[]) as monitor:
        watched = [monitor.watch(lambda: None, name=f"f{number}") for number in range(functions)]
        group: Any = monitor._membership.group  # noqa: SLF001 - what is timed is inside
        turn, led, seen, held = group.turn, [], [], []

        def timed(own: Any) -> Any:
            begun = time.thread_time()
            whole = turn(own)
            led.append(time.thread_time() - begun)
            return whole

        print("up", flush=True)
        sys.stdin.readline()
        for _ in range(INTERVALS):
            for call in watched:
                call()
            time.sleep(1.0)
            begun = time.thread_time()
            group.view(monitor.latest)
            seen.append(time.thread_time() - begun)
            begun = time.thread_time()
            for _ in range(100):
                group.leadership.hold(time.monotonic_ns())
            held.append((time.thread_time() - begun) / 100)
        group.turn = timed
        for _ in range(INTERVALS):
            for call in watched:
                call()
            time.sleep(1.0)
        print(json.dumps([statistics.median(times[2:]) for times in (led, seen, held)]), flush=True)


def case(processes: int, functions: int) -> list[float]:
    """Return the medians that the leader of so many processes has printed."""

    def begun(role: str) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, role, str(functions)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    with tempfile.TemporaryDirectory(prefix="holter-", dir="/dev/shm") as folder:
        os.environ["HOLTER_DIR"] = folder
        leader = begun("lead")
        workers = [begun("work") for _ in range(processes - 1)]
        told, _ = leader.communicate("\n")
        for worker in workers:
            worker.communicate()
    return list(json.loads(told))


def main() -> None:
    if sys.argv[1:]:
        (work if sys.argv[1] == "work" else lead)(int(sys.argv[2]))
        return
    print(machine())
    print(f"{'processes':>9}{'functions':>11}{'a turn':>12}{'a view':>12}{'a look at who leads':>22}")
    for processes, functions in CASES:
        led, seen, held = case(processes, functions)
        print(f"{processes:>9}{functions:>11}{led * 1e3:>9.2f} ms{seen * 1e3:>9.2f} ms{held * 1e6:>19.0f} us")
        if (processes, functions) == (4, 20):
            assert led < 0.02, "a leader takes more than a fiftieth of a core"
            assert held < 0.0001, "who does not lead takes more than a ten-thousandth of a core"


if __name__ == "__main__":
    main()
