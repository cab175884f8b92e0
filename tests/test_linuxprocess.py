"""What Linux says of a process, where a sampler's own test does not look."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holter.linuxprocess import RunQueueDelay, is_linux_proc, stat_fields

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def tasks(root: Path, waited_ns: dict[str, int]) -> list[str]:
    """Write what each thread has waited, as the kernel would; return the threads."""
    for thread, ns in waited_ns.items():
        (root / thread).mkdir(exist_ok=True)
        (root / thread / "schedstat").write_text(f"123 {ns} 45\n")
    return list(waited_ns)


def test_the_wait_of_threads_is_that_of_all_together(tmp_path: Path) -> None:
    """Of those that have ended too; a number that is given anew begins at nothing."""
    waits = RunQueueDelay(str(tmp_path))
    seconds = 10**9
    courses = [{"1": 5, "2": 7}, {"1": 6, "2": 7, "3": 2}, {"1": 6}, {"1": 6, "2": 1}, {"1": 2, "2": 1}]
    told = [waits.now(tasks(tmp_path, {name: s * seconds for name, s in one.items()})) for one in courses]
    assert [12, 15, 15, 16, 18] == told


def test_many_threads_are_read_in_turns(tmp_path: Path) -> None:
    """64 at a time; what they waited before the first look is no growth, and what they do is not lost."""
    waits, threads = RunQueueDelay(str(tmp_path)), [str(number) for number in range(200)]
    tasks(tmp_path, dict.fromkeys(threads, 10**12))
    assert 64_000 == waits.now(threads) == waits.now(threads) == waits.now(threads) == waits.now(threads)
    tasks(tmp_path, dict.fromkeys(threads, 10**12 + 10**9))
    told = [waits.now(threads) for _ in range(4)]
    assert sorted(told) == told
    assert 64_200 == told[-1]


def test_threads_that_end_while_they_are_read_are_left_out(tmp_path: Path) -> None:
    """If none can be read, the kernel does not count it."""
    waits = RunQueueDelay(str(tmp_path))
    tasks(tmp_path, {"1": 10**9})
    assert 1 == waits.now(["1", "2"])
    with pytest.raises(FileNotFoundError):
        RunQueueDelay(str(tmp_path / "none")).now(["1"])


def test_threads_that_share_one_cpu_wait_for_it() -> None:
    """As long as psutil's count of CPU time says that they did not run."""
    program = """
import os, subprocess, sys, time
from contracts.sampled import Sampled
from holter.samplers.process import ProcessSampler
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
burn = "import time; print(flush=True); end = time.monotonic() + 1.5\\nwhile time.monotonic() < end: pass"
other = subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE)
other.stdout.readline()
sampler, before, after = ProcessSampler(), Sampled(), Sampled()
sampler.sample(before)
began, used = time.monotonic(), time.process_time()
while time.monotonic() - began < 1.0:
    pass
sampler.sample(after)
wanted = time.monotonic() - began - (time.process_time() - used)
name = "holter.process.run_queue_delay"
print(wanted, after[name] - before[name])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    waited, delay = map(float, told.stdout.split())
    assert waited > 0.2
    assert delay == pytest.approx(waited, rel=0.15)


def test_a_name_may_hold_anything() -> None:
    """Brackets and spaces in it move no field."""
    assert [b"S", b"1"] == stat_fields(b"12 (a) b (c) S 1")
    with pytest.raises(ValueError, match="subsection not found"):
        stat_fields(b"nothing")


def test_linux_is_known_by_its_proc() -> None:
    """Here it is there."""
    assert is_linux_proc()
    assert threading.active_count() <= len(list(Path("/proc/self/task").iterdir()))
