"""A process and its children, against psutil and against what they are known to do."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from contracts.sampled import Sampled, raising
from holter.errors import ConfigurationError
from holter.linuxtree import LinuxTree
from holter.model import Sampler
from holter.samplers.tree import ProcessTreeSampler, PsutilTree

MIB = 2**20
SOURCES = [
    pytest.param(LinuxTree, id="linux", marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")),
    pytest.param(PsutilTree, id="psutil"),
]
# Answers each line that it is sent, so that a test decides when it works and ends.
CHILD = """
import os, subprocess, sys, threading, time
stay = threading.Event()
for _ in range(2):
    threading.Thread(target=stay.wait, daemon=True).start()
held = bytearray(os.urandom(1)) * (40 << 20)
print(os.getpid(), flush=True)
for line in sys.stdin:
    end = time.process_time() + float(line)
    while time.process_time() < end:
        pass
    print(flush=True)
"""


class Child:
    """A process with a thread and 40 MiB that works when it is told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.pid = int(self.process.stdout.readline())

    def work(self, seconds: float) -> None:
        """Burn that much CPU time."""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdout.readline()

    def end(self) -> None:
        """Close it, and wait for it; a second time nothing happens."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def child() -> Iterator[Callable[[], Child]]:
    """What starts a child, which is ended with the test."""
    children: list[Child] = []

    def start() -> Child:
        children.append(Child())
        return children[-1]

    yield start
    for one in children:
        one.end()


def sample(sampler: ProcessTreeSampler) -> dict[str, float]:
    """Return one sample, with both modes of CPU time together."""
    sampled = Sampled()
    sampler.sample(sampled)
    values = sampled.values
    values["cpu"] = sum(values.pop(f"holter.process_tree.cpu_time {mode}") for mode in ("user", "system"))
    return {name.removeprefix("holter.process_tree."): value for name, value in values.items()}


@pytest.mark.parametrize("source", SOURCES)
def test_children_count_while_they_live(source: Callable[[], Any], child: Callable[[], Child]) -> None:
    """Processes, threads, memory and CPU time are what psutil sees of all together."""
    sampler = ProcessTreeSampler(_open=source)
    before = sample(sampler)
    children = [child(), child()]
    children[0].work(0.4)
    now = sample(sampler)
    everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert now["processes"] - before["processes"] == 2
    assert now["processes"] == len(everyone)
    assert now["threads"] == sum(one.num_threads() for one in everyone)
    assert now["threads"] - before["threads"] == 6
    assert now["memory_usage"] == pytest.approx(sum(one.memory_info().rss for one in everyone), abs=8 * MIB)
    assert now["memory_usage"] - before["memory_usage"] >= 80 * MIB
    theirs = sum(sum(psutil.Process(one.pid).cpu_times()[:2]) for one in children)
    mine = sum(psutil.Process().cpu_times()[:2])
    assert now["cpu"] - before["cpu"] == pytest.approx(theirs + mine - before["cpu"], abs=0.2)


@pytest.mark.parametrize("source", SOURCES)
def test_children_that_end_leave_their_time_behind(source: Callable[[], Any], child: Callable[[], Child]) -> None:
    """What they used since they were seen last too; nothing falls, and nothing is counted twice."""
    sampler = ProcessTreeSampler(_open=source)
    worker = child()
    told = [sample(sampler)["cpu"]]
    own = os.times()
    worker.work(0.5)
    told.append(sample(sampler)["cpu"])
    worker.work(0.5)
    worker.end()
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    told += [sample(sampler)["cpu"] for _ in range(3)]
    ended = os.times()
    mine = ended.user + ended.system - own.user - own.system
    assert told == sorted(told)
    assert told[1] - told[0] == pytest.approx(0.5, abs=0.2)
    assert 1.45 <= told[-1] - told[0] - mine <= 1.9
    assert told[-1] - told[2] < 0.3


def test_other_processes_do_no_harm() -> None:
    """Hundreds that come and go while they are looked at: each sample has at least the process itself."""
    sampler = ProcessTreeSampler()
    spawner = subprocess.Popen(["/bin/sh", "-c", "i=0; while [ $i -lt 300 ]; do /bin/true & i=$((i+1)); done; wait"])
    counts = []
    while spawner.poll() is None:
        counts.append(sample(sampler)["processes"])
    assert min(counts) >= 1
    assert sampler.unavailable == {}


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), psutil.ZombieProcess(1)], ids=["denied", "zombie"])
def test_a_child_that_may_not_be_read_counts_as_a_process(
    error: Exception, child: Callable[[], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what may be read of it; one that is gone counts no more."""
    worker = child()
    sampler = ProcessTreeSampler(_open=PsutilTree)
    before = sample(sampler)
    real = psutil.Process.memory_info

    @functools.wraps(real)
    def memory_info(process: psutil.Process) -> Any:
        if process.pid == worker.pid:
            raise error
        return real(process)

    monkeypatch.setattr(psutil.Process, "memory_info", memory_info)
    now = sample(sampler)
    assert (now["processes"], now["threads"]) == (before["processes"], before["threads"])
    assert before["memory_usage"] - now["memory_usage"] >= 40 * MIB
    gone = psutil.Process(worker.pid)
    worker.end()
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [gone])
    assert sample(sampler)["processes"] == 1


def test_after_a_fork_it_speaks_of_the_child(child: Callable[[], Child]) -> None:
    """Of the child and its children alone."""
    sampler = ProcessTreeSampler()
    child()
    sample(sampler)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write_end, json.dumps(sample(sampler)).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end) as answer:  # noqa: PTH123  a descriptor
        theirs = json.loads(answer.read())
    os.waitpid(pid, 0)
    assert (theirs["processes"], theirs["threads"]) == (1, 1)
    assert theirs["cpu"] < 1


@pytest.mark.parametrize("error", [FileNotFoundError("/proc"), PermissionError(), ImportError("psutil")])
def test_where_it_cannot_be_read_all_is_unavailable(error: Exception) -> None:
    """Nothing is raised, and the next sample tries again."""
    attempts = iter([raising(error), LinuxTree])
    sampler, sampled = ProcessTreeSampler(_open=lambda: next(attempts)()), Sampled()  # noqa: PLW0108  each call takes the next
    sampler.sample(sampled)
    assert (sampled.values, len(sampler.unavailable)) == ({}, 4)
    sampler.sample(sampled)
    assert (len(sampled.metrics), sampler.unavailable) == (4, {})


def test_it_is_a_sampler_with_an_interval() -> None:
    """It satisfies the Protocol, tells of one process, and refuses an interval that cannot work."""
    sampler, sampled = ProcessTreeSampler(3), Sampled()
    sampler.sample(sampled)
    assert isinstance(sampler, Sampler)
    assert repr(sampler) == "ProcessTreeSampler(interval_seconds=3.0)"
    assert sampled.metrics == {
        "holter.process_tree.processes": ("{process}", "gauge"),
        "holter.process_tree.cpu_time": ("s", "counter"),
        "holter.process_tree.memory_usage": ("By", "gauge"),
        "holter.process_tree.threads": ("{thread}", "gauge"),
    }
    assert {"each", None} == {*sampled.across.values()}
    with pytest.raises(ConfigurationError, match="interval_seconds must be"):
        ProcessTreeSampler(0)
