"""The figures of a process, against psutil from outside and against what the process is known to do."""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.sampled import Failing, Sampled, blank, raising
from holter.clock import SYSTEM
from holter.errors import ConfigurationError
from holter.model import Sampler
from holter.samplers.process import ProcessSampler

MIB = 2**20
ALL = {
    "process.cpu.time",
    "process.cpu.utilization",
    "process.memory.usage",
    "process.memory.virtual",
    "process.disk.io",
    "process.disk.operations",
    "process.thread.count",
    "process.unix.file_descriptor.count",
    "process.context_switches",
    "process.uptime",
    "process.paging.faults",
    "holter.process.run_queue_delay",
}
WORK = """
import json, os, sys, threading
from contracts.sampled import Sampled
from holter.samplers.process import ProcessSampler

def look():
    sampled = Sampled()
    sampler.sample(sampled)
    return sampled.values

sampler, stay = ProcessSampler(), threading.Event()
before, began = look(), os.times()
memory = bytearray(b"x") * (64 << 20)
files = [open(sys.argv[1]) for _ in range(7)]
for _ in range(3):
    threading.Thread(target=stay.wait, daemon=True).start()
with open(sys.argv[1] + ".written", "wb") as file:
    file.write(os.urandom(8 << 20))
    file.flush()
    os.fsync(file.fileno())
with open(os.devnull, "wb") as nowhere:
    nowhere.write(bytes(32 << 20))
while os.times().user - began.user < 0.4:
    sum(range(10_000))
after, ended = look(), os.times()
known = {name: getattr(ended, name) - getattr(began, name) for name in ("user", "system", "elapsed")}
print(json.dumps([before, after, known, sampler.unavailable | {}]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict, dict, dict, dict, psutil.Process]]:
    """What a process that works tells of itself, before and after, and psutil's view of it while it waits."""
    file = tmp_path_factory.mktemp("work") / "file"
    file.touch()
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:
        yield *json.loads(child.stdout.readline()), psutil.Process(child.pid)
        child.stdin.close()


def test_all_metrics_are_read(worker: Any) -> None:
    """On Linux nothing is unavailable, and the share of CPU comes with the second sample."""
    before, after, _, unavailable, _ = worker
    assert unavailable == {}
    assert set(after) - set(before) == {"process.cpu.utilization user", "process.cpu.utilization system"}


def test_cpu_time_is_what_psutil_sees_and_the_process_burnt(worker: Any) -> None:
    """Within some ticks of the kernel's clock, 10 ms each."""
    before, after, known, _, oracle = worker
    times = oracle.cpu_times()
    for mode in ("user", "system"):
        assert after[f"process.cpu.time {mode}"] == pytest.approx(getattr(times, mode), abs=0.05)
        grown = after[f"process.cpu.time {mode}"] - before[f"process.cpu.time {mode}"]
        assert grown == pytest.approx(known[mode], abs=0.05)


def test_cpu_utilization_is_a_share_of_the_cpus_it_may_use(worker: Any) -> None:
    """CPU time over the time passed and the CPUs of its affinity."""
    _, after, known, _, oracle = worker
    expected = known["user"] / known["elapsed"] / len(oracle.cpu_affinity())
    assert after["process.cpu.utilization user"] == pytest.approx(expected, rel=0.15)


def test_memory_is_what_psutil_sees_and_the_process_took(worker: Any) -> None:
    """The 64 MiB show in both figures."""
    before, after, _, _, oracle = worker
    memory = oracle.memory_info()
    assert after["process.memory.usage"] == pytest.approx(memory.rss, abs=2 * MIB)
    assert after["process.memory.virtual"] == pytest.approx(memory.vms, abs=2 * MIB)
    assert after["process.memory.usage"] - before["process.memory.usage"] >= 63 * MIB
    assert after["process.memory.virtual"] - before["process.memory.virtual"] >= 64 * MIB


def test_threads_and_files_are_counted(worker: Any) -> None:
    """Three threads and seven files more than before."""
    before, after, _, _, oracle = worker
    grown = {name: after[name] - before[name] for name in before}
    assert (grown["process.thread.count"], after["process.thread.count"]) == (3, oracle.num_threads())
    assert grown["process.unix.file_descriptor.count"] == 7
    assert after["process.unix.file_descriptor.count"] == oracle.num_fds()


def test_disk_figures_are_what_psutil_sees(worker: Any) -> None:
    """Bytes that reached the storage, and system calls; the process wrote 8 MiB to a file and 32 to nowhere."""
    before, after, _, _, oracle = worker
    io = oracle.io_counters()
    assert after["process.disk.io read"] == pytest.approx(io.read_bytes, abs=MIB)
    assert after["process.disk.io write"] == pytest.approx(io.write_bytes, abs=MIB)
    assert after["process.disk.operations read"] == pytest.approx(io.read_count, abs=20)
    assert after["process.disk.operations write"] == pytest.approx(io.write_count, abs=20)
    assert after["process.disk.operations write"] > before["process.disk.operations write"]
    on_disk = psutil.disk_partitions(all=False)
    if any(partition.mountpoint == "/" for partition in on_disk):
        assert after["process.disk.io write"] - before["process.disk.io write"] >= 8 * MIB


def test_context_switches_are_what_psutil_sees(worker: Any) -> None:
    """By kind; what came since is the wait itself."""
    _, after, _, _, oracle = worker
    switches = oracle.num_ctx_switches()
    assert after["process.context_switches voluntary"] == pytest.approx(switches.voluntary, abs=20)
    assert after["process.context_switches involuntary"] == pytest.approx(switches.involuntary, abs=50)


def test_uptime_counts_from_the_start_of_the_process(worker: Any) -> None:
    """Between two samples it grows by the time between them."""
    before, after, known, _, oracle = worker
    assert after["process.uptime"] - before["process.uptime"] == pytest.approx(known["elapsed"], abs=0.1)
    assert 0 < before["process.uptime"] < time.time() - oracle.create_time()


def test_uptime_does_not_follow_the_wall_clock() -> None:
    """An hour's step of the clock between two samples shows in none of them."""
    step = [0]
    clock = SYSTEM._replace(wall_ns=lambda: time.time_ns() + step[0])
    sampler, first, second = ProcessSampler(_clock=clock), Sampled(), Sampled()
    sampler.sample(first)
    step[0] = 3600 * 10**9
    sampler.sample(second)
    assert second["process.uptime"] == pytest.approx(first["process.uptime"], abs=1.0)


def test_after_a_fork_it_speaks_of_the_child() -> None:
    """The same sampler, in the child, gives the child's age, CPU time and threads."""
    sampler, mine = ProcessSampler(), Sampled()
    sampler.sample(mine)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        theirs = Sampled()
        try:
            least = psutil.Process().num_threads()
            sampler.sample(theirs)
            threads = [least, psutil.Process().num_threads()]
            os.write(write_end, json.dumps([theirs.values, threads]).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end) as answer:  # noqa: PTH123  a descriptor
        theirs, (least, most) = json.loads(answer.read())
    born_later = psutil.Process(pid).create_time() - psutil.Process().create_time()
    os.waitpid(pid, 0)
    assert mine["process.uptime"] - theirs["process.uptime"] == pytest.approx(born_later, abs=2.0)
    assert theirs["process.cpu.time user"] < mine["process.cpu.time user"]
    assert least <= theirs["process.thread.count"] <= most
    assert "process.cpu.utilization user" not in theirs


def test_a_sampler_leaves_no_file_open() -> None:
    """With it go its descriptors; a monitor that is stopped and dropped keeps none."""
    gc.collect()
    before = psutil.Process().num_fds()
    sampler = ProcessSampler()
    sampler.sample(Sampled())
    assert psutil.Process().num_fds() > before
    del sampler
    gc.collect()
    assert psutil.Process().num_fds() == before


def test_page_faults_and_switches_are_those_of_all_threads() -> None:
    """16 MiB are touched by a thread that then waits 50 times, and ends: the process has that afterwards."""
    sampler, before, after = ProcessSampler(), Sampled(), Sampled()

    def touch() -> None:
        with mmap.mmap(-1, 16 * MIB) as memory:
            memory.madvise(getattr(mmap, "MADV_NOHUGEPAGE", 15))
            for at in range(0, 16 * MIB, mmap.PAGESIZE):
                memory[at] = 1
        for _ in range(50):
            time.sleep(0.0001)

    sampler.sample(before)
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    sampler.sample(after)
    grown = {name: after[name] - before[name] for name in before.values}
    assert grown["process.paging.faults minor"] >= 4096
    assert grown["process.context_switches voluntary"] >= 50
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert after["process.paging.faults major"] == pytest.approx(usage.ru_majflt, abs=10)


def test_a_clock_that_jumps_makes_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back: there is no share of such a time. A day ahead: the share is that of a day."""
    now = [10**12]
    sampler = ProcessSampler(_clock=SYSTEM._replace(monotonic_ns=lambda: now[0]))
    told = []
    for step in (0, -(10**9), 86_400 * 10**9):
        now[0] += step
        sampled = Sampled()
        sampler.sample(sampled)
        told.append(sampled.values.get("process.cpu.utilization user"))
        assert sampler.unavailable == {}
    assert told[:2] == [None, None]
    assert 0 <= told[2] < 0.001


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("statm", {"process.memory.usage", "process.memory.virtual"}),
        ("io", {"process.disk.io", "process.disk.operations"}),
        ("fd", {"process.unix.file_descriptor.count"}),
        ("task", {"process.thread.count", "holter.process.run_queue_delay"}),
        ("stat", ALL),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_of_proc_that_fails_stops_no_other(name: str, missing: set[str], tmp_path: Path) -> None:
    """As ``io`` does in a process that may not look at itself; it heals."""
    for one in ("stat", "statm", "io"):
        (tmp_path / one).write_bytes(Path("/proc/self", one).read_bytes())
    for one in ("fd", "task"):
        (tmp_path / one).symlink_to(f"/proc/self/{one}")
    (tmp_path / name).rename(tmp_path / "away")
    sampler = ProcessSampler(_proc=str(tmp_path))
    for _ in range(2):
        sampled = Sampled()
        sampler.sample(sampled)
    assert set(sampler.unavailable) == missing
    assert set(sampled.metrics) == ALL - missing
    (tmp_path / "away").rename(tmp_path / name)
    for _ in range(2):
        sampler.sample(sampled)
    assert (sampler.unavailable, set(sampled.metrics)) == ({}, ALL)


READS = {
    "cpu_times": {"process.cpu.time", "process.cpu.utilization"},
    "memory_info": {"process.memory.usage", "process.memory.virtual"},
    "io_counters": {"process.disk.io", "process.disk.operations"},
    "num_threads": {"process.thread.count"},
    "num_fds": {"process.unix.file_descriptor.count"},
    "num_ctx_switches": {"process.context_switches"},
    "create_time": {"process.uptime"},
}
ERRORS = [
    psutil.AccessDenied(1),
    psutil.NoSuchProcess(1),
    FileNotFoundError(2, "No such file or directory", "/proc/self/io"),
    PermissionError("no"),
    NotImplementedError("not here"),
    ValueError("a field too few"),
]


def sample_twice(process: Failing, *fails: str) -> tuple[Sampled, ProcessSampler]:
    """Return a sample taken while *fails* fail, after one when all was well."""
    sampler = ProcessSampler(_open=lambda: process)
    broken, process.broken = process.broken, {}
    missing, process.missing = process.missing, set()
    sampler.sample(Sampled())
    process.broken, process.missing = broken, missing
    sampler._source.age_seconds = None if "create_time" in fails else sampler._source.age_seconds
    sampled = Sampled()
    sampler.sample(sampled)
    return sampled, sampler


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("read", READS)
def test_a_figure_that_fails_stops_no_other(read: str, error: Exception) -> None:
    """Whatever fails, the others are there, and the reason is kept for whoever asks."""
    process = Failing(psutil.Process())
    process.broken[read] = raising(error)
    sampled, sampler = sample_twice(process, read)
    everything = set().union(*READS.values())
    assert set(sampled.metrics) == everything - READS[read]
    assert set(sampler.unavailable) == READS[read]
    for reason in sampler.unavailable.values():
        assert reason.startswith(f"unavailable, because of {type(error).__name__}")


@pytest.mark.parametrize("read", READS)
def test_a_figure_that_the_platform_lacks_stops_no_other(read: str) -> None:
    """Methods that a platform cannot have, psutil leaves out."""
    process = Failing(psutil.Process())
    process.missing.add(read)
    sampled, sampler = sample_twice(process, read)
    assert set(sampled.metrics) == set().union(*READS.values()) - READS[read]
    assert sampler.unavailable == dict.fromkeys(READS[read], f"unavailable, because of AttributeError: {read}")


@pytest.mark.parametrize("read", ["io_counters", "num_ctx_switches"])
def test_a_counter_without_a_value_is_unavailable(read: str) -> None:
    """None is no number."""
    process = Failing(psutil.Process())
    process.broken[read] = blank(getattr(process.real, read))
    sampled, sampler = sample_twice(process)
    assert set(sampled.metrics) == set().union(*READS.values()) - READS[read]
    assert set(sampler.unavailable) == READS[read]


def test_a_figure_heals() -> None:
    """What can be read again is no longer unavailable."""
    process, sampled = Failing(psutil.Process()), Sampled()
    process.broken["num_fds"] = raising(PermissionError())
    sampler = ProcessSampler(_open=lambda: process)
    sampler.sample(Sampled())
    process.broken.clear()
    sampler.sample(sampled)
    assert ("process.unix.file_descriptor.count" in sampled.metrics, sampler.unavailable) == (True, {})


def test_a_process_that_cannot_be_opened_makes_all_unavailable() -> None:
    """Nothing is raised, each metric says why, and the next sample tries again."""
    attempts = iter([raising(PermissionError("hidepid")), psutil.Process])
    sampler, sampled = ProcessSampler(_open=lambda: next(attempts)()), Sampled()  # noqa: PLW0108  each call takes the next
    sampler.sample(sampled)
    assert (sampled.values, len(sampler.unavailable)) == ({}, 10)
    sampler.sample(sampled)
    assert (len(sampled.metrics), sampler.unavailable) == (9, {})


def test_names_units_and_kinds_are_the_conventions() -> None:
    """OpenTelemetry's; levels are gauges, so that their extremes are known."""
    sampler, sampled = ProcessSampler(), Sampled()
    sampler.sample(sampled)
    assert sampled.metrics == {
        "process.cpu.time": ("s", "counter"),
        "process.memory.usage": ("By", "gauge"),
        "process.memory.virtual": ("By", "gauge"),
        "process.disk.io": ("By", "counter"),
        "process.disk.operations": ("{operation}", "counter"),
        "process.thread.count": ("{thread}", "gauge"),
        "process.unix.file_descriptor.count": ("{file_descriptor}", "gauge"),
        "process.context_switches": ("{context_switch}", "counter"),
        "process.uptime": ("s", "gauge"),
        "process.paging.faults": ("{fault}", "counter"),
        "holter.process.run_queue_delay": ("s", "counter"),
    }


def test_an_error_of_the_recorder_is_not_the_systems() -> None:
    """What `record` raises is for the caller."""
    with pytest.raises(ZeroDivisionError):
        ProcessSampler().sample(raising(ZeroDivisionError()))


def test_it_is_a_sampler_that_waits_for_psutil() -> None:
    """It satisfies the Protocol, and loads psutil at the first sample only."""
    assert isinstance(ProcessSampler(), Sampler)
    program = "import sys, holter.samplers.process as p; p.ProcessSampler(); sys.exit('psutil' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_an_interval_that_cannot_work_is_refused(seconds: Any) -> None:
    """At construction."""
    with pytest.raises(ConfigurationError, match="interval_seconds must be"):
        ProcessSampler(seconds)


def test_samplers_with_equal_settings_read_equal() -> None:
    """So that a monitor can tell whether it was given the same once more."""
    assert repr(ProcessSampler(2)) == repr(ProcessSampler(2.0)) == "ProcessSampler(interval_seconds=2.0)"
