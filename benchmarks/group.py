"""
What it costs to be one of several processes of a service, and to lead them.

Real processes call 20 or 200 watched functions, all of them each interval. The promise: to lead four processes of
20 functions takes less than a fiftieth of a core, so does leading any number of them, which are then read less
often; and not to lead takes less than a ten-thousandth.

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

from holter.chronicle import CHRONICLE
from holter.group import Group
from holter.members import GroupName
from holter.model import Snapshot
from holter.monitor import Monitor
from runner import machine

INTERVALS = 8
FEW = 20
CASES = ((1, FEW), (4, FEW), (4, 200), (16, FEW))


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


def stay(group: Group) -> None:
    """Go on leading until the process ends."""
    while group.lead():
        time.sleep(0.5)


def lead(functions: int) -> None:
    """
    Lead, and print CPU seconds: of a turn that reads all, a view, a look at who leads, and a second of leading.

    The monitor of this process is in no group, so that the turns can be taken, and timed, here.
    """
    with Monitor("service", samplers=[]) as monitor:
        watched = [monitor.watch(lambda: None, name=f"f{number}") for number in range(functions)]
        recording = CHRONICLE.recording
        assert recording is not None
        group = Group(recording.path.parent, GroupName("service", ""), recording.path, 1.0)
        assert group.lead()
        # Also while the others start, and where the machine is slow: who gives no sign of life is replaced.
        threading.Thread(target=stay, args=(group,), daemon=True).start()
        print("up", flush=True)
        sys.stdin.readline()
        led, seen, held, spent = [], [], [], []

        def second(*, now: bool) -> Snapshot:
            for call in watched:
                call()
            time.sleep(1.0)
            own = monitor.snapshot()
            begun = time.thread_time()
            whole = group.turn(own, now=now)
            assert whole is not None, "another process leads"
            (led if now else spent).append(time.thread_time() - begun)
            return own

        for _ in range(INTERVALS):
            own = second(now=True)
            begun = time.thread_time()
            group.view(own)
            seen.append(time.thread_time() - begun)
            begun = time.thread_time()
            for _ in range(100):
                group.leadership.hold(time.monotonic_ns())
            held.append((time.thread_time() - begun) / 100)
        for _ in range(2 * INTERVALS):
            second(now=False)
        print(json.dumps([*(statistics.median(times[2:]) for times in (led, seen, held)), statistics.fmean(spent)]))


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
    heads = f"{'a turn':>12}{'a view':>12}{'a look at who leads':>22}{'a second of leading':>22}"
    print(f"{'processes':>9}{'functions':>11}{heads}")
    for processes, functions in CASES:
        led, seen, held, spent = case(processes, functions)
        figures = f"{led * 1e3:>9.2f} ms{seen * 1e3:>9.2f} ms{held * 1e6:>19.0f} us{spent * 1e3:>19.2f} ms"
        print(f"{processes:>9}{functions:>11}{figures}")
        if (processes, functions) == (4, 20):
            assert led < 0.02, "a leader takes more than a fiftieth of a core"
            assert held < 0.0001, "who does not lead takes more than a ten-thousandth of a core"
        if functions == FEW:
            assert spent < 0.02, "leading takes more than a fiftieth of a core, however many there are"


if __name__ == "__main__":
    main()
