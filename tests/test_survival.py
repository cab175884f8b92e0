"""What is left of a process that was killed in the middle of recording, at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import holter
from holter.record import LARGE_CAPACITY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

IMPLEMENTATIONS = ("C", "pure Python")
# Two threads record as fast as they can, each value one more than the last; each acknowledges in a word of its own
# what it has recorded, after it has.
VICTIM = textwrap.dedent(
    """
    import mmap, os, sys, threading
    import holter

    with open(sys.argv[1], "r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 4096)).cast("Q")
    holter.start("victim", samplers=[])
    ready = threading.Barrier(3)

    def record(place):
        counter = holter.counter(f"app.count.{place}")
        ready.wait()
        number = 0
        while True:
            number += 1
            counter.add(number)
            words[place] = number

    for place in (0, 1):
        threading.Thread(target=record, args=(place,), daemon=True).start()
    ready.wait()
    print("ready", flush=True)
    threading.Event().wait()
    """
)


def environment(implementation: str, folder: Path) -> dict[str, str]:
    """Return what makes a program use this ring, and record here."""
    return {
        **os.environ,
        "HOLTER_DIR": str(folder),
        "HOLTER_PURE_PYTHON": "1" if implementation == "pure Python" else "0",
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory."""
    with tempfile.TemporaryDirectory(dir=os.environ["HOLTER_DIR"]) as made:
        yield Path(made)


def killed(implementation: str, folder: Path, after_seconds: float) -> list[int]:
    """Let two threads record, kill them, and return what they have acknowledged."""
    acknowledged = folder / "acknowledged"
    acknowledged.write_bytes(bytes(4096))
    command = [sys.executable, "-c", VICTIM, acknowledged]
    with subprocess.Popen(command, env=environment(implementation, folder), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"ready\n" == process.stdout.readline()
        time.sleep(after_seconds)
        process.send_signal(signal.SIGKILL)
    numbers: list[int] = np.fromfile(acknowledged, np.uint64, 2).astype(int).tolist()
    acknowledged.unlink()
    return numbers


def check(folder: Path, acknowledged: list[int]) -> None:
    """Say whether everything that was acknowledged is there, whole, and hardly anything else."""
    (path,) = folder.glob("*.holter")
    contents = holter.read_recording(path)
    assert "dead" == contents.process.state
    for place, last in enumerate(acknowledged):
        (series,) = [one for one in contents.series.values() if one.name == f"app.count.{place}" and not one.attributes]
        if not last and series.id not in contents.totals:
            continue  # killed before the first one
        total = contents.totals[series.id].count
        assert total in (last, last + 1), (total, last)
        mine = contents.records[contents.records["series"] == series.id]
        # Each record is one that was written, and none is missing of those that the last ring of the thread can hold.
        numbers = mine["value"].astype(np.int64)
        assert (np.diff(mine["time_ns"]) >= 0).all()
        assert len(set(numbers.tolist())) == len(numbers)
        assert set(numbers.tolist()) <= set(range(1, last + 2))
        ring = mine["ring"][-1]
        held = numbers[mine["ring"] == ring]
        assert held.max() in (last, last + 1)
        assert (np.diff(held) == 1).all()
        assert len(held) in (last + 1, last) or len(held) >= min(1023, LARGE_CAPACITY) or ring != mine["ring"][0]
    path.unlink()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_what_was_acknowledged_survives_a_kill(implementation: str, folder: Path) -> None:
    """Five processes, killed at random moments: totals are exact, no record is torn, none is missing."""
    moment = random.Random(implementation)
    for _ in range(5):
        check(folder, killed(implementation, folder, moment.uniform(0.0, 0.4)))


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_what_was_acknowledged_survives_200_kills(implementation: str, folder: Path) -> None:
    """The same, two hundred times."""
    moment = random.Random(implementation)
    for _ in range(200):
        check(folder, killed(implementation, folder, moment.uniform(0.0, 1.0)))


def _records_of(path: Path) -> int:
    """Return how many counts the *path* holds while they are written; each must be later and larger than the last."""
    contents = holter.read_recording(path)
    count = 0
    for series in [one for one in contents.series.values() if one.name.startswith("app.count.")]:
        mine = np.sort(contents.records[contents.records["series"] == series.id], order=["ring", "sequence"])
        together = np.diff(mine["ring"]) == 0
        assert (np.diff(mine["time_ns"])[together] >= 0).all()
        assert (np.diff(mine["value"])[together] > 0).all()
        count += len(mine)
    return count


@pytest.mark.heavy
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_reader_beside_a_service_takes_no_torn_record(implementation: str, folder: Path) -> None:
    """For five seconds, each on a CPU of its own; tests/test_native.py shows that the check is needed."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs: a reader and a writer that take turns do not meet")
    acknowledged = folder / "acknowledged"
    acknowledged.write_bytes(bytes(4096))
    command = [sys.executable, "-c", VICTIM, acknowledged]
    with subprocess.Popen(command, env=environment(implementation, folder), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert b"ready\n" == process.stdout.readline()
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cpus[:1])
            os.sched_setaffinity(0, cpus[1:2])
            (path,) = folder.glob("*.holter")
            taken, until = 0, time.monotonic() + 5.0
            while time.monotonic() < until:
                taken += _records_of(path)
            assert taken > 10_000
        finally:
            os.sched_setaffinity(0, cpus)
            process.kill()
