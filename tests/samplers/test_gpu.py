"""The sampler of GPUs, with a real helper process that loads a library without GPUs by NVIDIA's own binding."""

from __future__ import annotations

import csv
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holter
from contracts.sampled import Sampled
from fakegpus import (
    FUNCTION_NOT_FOUND,
    UUIDS,
    FakeGPUs,
    fake_gpus,
    first_reading,
    helper_of,
    load,
    needs_gcc,
    sampled_until,
)
from holter import ConfigurationError, GPUSampler, Sampler, names
from holter.gpufigures import FIGURES, METRICS
from holter.samplers.gpu import AVAILABLE, has_driver
from holter.standard import standard_samplers
from metricpages import get, poll, values
from programs import run

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed; install it with: pip install '.[gpu]'")
pytestmark = [needs_gcc, pytest.mark.skipif(sys.platform != "linux", reason="the library is built for Linux")]

TIMEOUT = 1.0
GPU0 = f"{UUIDS[0]} GPU 0 gpu"


@pytest.fixture
def fake() -> Iterator[FakeGPUs]:
    """One GPU."""
    with fake_gpus(1) as gpus:
        yield gpus


def sampler(**options: Any) -> GPUSampler:
    one = GPUSampler(0.02, timeout_seconds=TIMEOUT, _shares_pids=True, **options)
    one.budget = 1.0  # fifty times a second is more than it should be asked
    return one


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(pid: int) -> None:
    poll(f"the end of process {pid}", lambda: not is_running(pid))


def test_a_gpu_is_told_by_the_names_of_the_conventions(fake: FakeGPUs) -> None:
    """In base units, under its UUID."""
    sampled = first_reading(sampler())
    assert {
        f"hw.gpu.utilization {GPU0} general": 0.5,
        f"hw.gpu.memory.usage {GPU0}": 10 << 30,
        f"hw.power {GPU0}": 300.0,
        f"hw.temperature {GPU0} gpu": 60,
        f"hw.temperature {GPU0} memory": 70,
        f"hw.gpu.io {GPU0} transmit": 5e9 + 197,
        f"holter.gpu.clock {GPU0} sm": 1.1e9,
        f"holter.gpu.nvlink.io {GPU0} receive": 1139 * 1024,
        f"holter.gpu.throttle_time {GPU0} thermal": 2.0,
        f"hw.errors {GPU0} uncorrected": 0,
        f"holter.gpu.info {GPU0} NVIDIA Fake GPU serial-0 96.00 999.00": 1,
        "holter.gpu.helper.failures died": 0,
    }.items() <= sampled.values.items()
    assert {
        "hw.gpu.utilization": ("1", "gauge"),
        "hw.gpu.memory.usage": ("By", "gauge"),
        "hw.power": ("W", "gauge"),
        "hw.energy": ("J", "counter"),
        "hw.temperature": ("Cel", "gauge"),
        "hw.errors": ("{error}", "counter"),
        "hw.gpu.io": ("By", "counter"),
        "holter.gpu.clock": ("Hz", "gauge"),
        "holter.gpu.throttle_time": ("s", "counter"),
    }.items() <= sampled.metrics.items()


def test_each_metric_of_each_gpu_has_a_state() -> None:
    """Available, or unavailable and why; what some GPUs lack is told with their names."""
    with fake_gpus(2, fail__nvmlDeviceGetPowerUsage__1=3, fail__nvmlDeviceGetTotalEccErrors=3) as fake:
        one = sampler()
        first_reading(one)
        assert UUIDS[:2] == list(one.states)
        assert [set(METRICS)] * 2 == [set(states) for states in one.states.values()]
        assert [AVAILABLE, "unavailable, because nvmlDeviceGetPowerUsage says: Not Supported"] == [
            one.states[uuid]["hw.power"] for uuid in UUIDS[:2]
        ]
        ecc = "unavailable, because nvmlDeviceGetTotalEccErrors says: Not Supported"
        assert {"hw.power of GPU 1": one.states[UUIDS[1]]["hw.power"], "hw.errors": ecc} == dict(one.unavailable)
        fake.says(gpus=2)


@pytest.mark.parametrize("count", [1, 8])
def test_all_gpus_are_told(count: int) -> None:
    """As many as there are, with figures of their own."""
    with fake_gpus(count):
        sampled = first_reading(sampler())
        powers = {name: value for name, value in sampled.values.items() if name.startswith("hw.power ")}
        assert {f"hw.power {UUIDS[at]} GPU {at} gpu": 300.0 + at for at in range(count)} == powers


@pytest.mark.parametrize(
    ("count", "devices", "why"),
    [(0, None, "the driver knows no GPU"), (1, "-1", "CUDA_VISIBLE_DEVICES='-1' leaves no GPU to this program")],
)
def test_without_a_gpu_it_says_so(count: int, devices: str | None, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none, or none for this program."""
    with fake_gpus(count):
        if devices is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
        one = sampler()
        sampled = first_reading(one)
        assert dict.fromkeys(METRICS, f"unavailable, because {why}") == dict(one.unavailable)
        assert not [name for name in sampled.metrics if name.startswith("hw.")]


def test_only_visible_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by UUID, in the program's order."""
    with fake_gpus(4):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"3,{UUIDS[1]}")
        one = sampler()
        sampled = first_reading(one)
        assert [UUIDS[3], UUIDS[1]] == list(one.states)
        assert sampled[f"hw.power {UUIDS[1]} GPU 1 gpu"] == 301.0


def test_parts_of_a_gpu_are_told_with_their_gpu() -> None:
    """What they lack is no news where the GPU has it."""
    with fake_gpus(1, parts__0=2):
        one = sampler()
        sampled = first_reading(one)
        part = "MIG-01000000-0000-0000-0000-000000000000"
        assert sampled[f"hw.gpu.memory.usage {part} GPU 0 part 0 gpu {UUIDS[0]}"] == 1 << 30
        assert "unavailable" in one.states[part]["hw.power"]
        assert {} == dict(one.unavailable)


@pytest.mark.parametrize("how", ["hang", "crash"])
def test_a_call_that_hangs_or_crashes_takes_nobody_with_it(how: str, fake: FakeGPUs) -> None:
    """The helper is started anew and does not make that call again; no sample waits, and all else is told."""
    one, counted = sampler(), {"hang": "hung", "crash": "died"}[how]
    sampled = first_reading(one)
    fake.says(**{f"{how}__nvmlDeviceGetPowerUsage": 1})
    longest, reasons = 0.0, set()

    def is_told() -> bool:
        nonlocal longest
        begun = time.thread_time()
        one.sample(sampled)
        longest = max(longest, time.thread_time() - begun)
        reasons.add(one._source.reason)
        return "has hung or killed" in one.unavailable.get("hw.power", "")

    poll("the helper's successor", is_told)
    expected = {"hang": "gave no answer for 1 s in nvmlDevice", "crash": "died by signal 11 in nvmlDeviceGetPower"}
    assert [reason for reason in reasons if expected[how] in reason]
    assert sampled[f"holter.gpu.helper.failures {counted}"] == 1
    assert ["hw.power"] == list(one.unavailable)
    fresh = Sampled()
    sampled_until(one, lambda fresh: f"hw.energy {GPU0}" in fresh.values, fresh)
    assert "hw.power" not in fresh.metrics
    assert longest < 0.1


@pytest.mark.parametrize("how", ["hang", "crash"])
def test_a_library_that_does_not_even_start_is_told(how: str) -> None:
    """Nothing is skipped for that; the pause before the next try grows."""
    with fake_gpus(1, **{f"{how}__nvmlInitWithFlags": 1}) as fake:
        one = GPUSampler(0.02, timeout_seconds=0.2)
        sampled = sampled_until(one, lambda _: sum(one._source.failures.values()) == 2)
        told = {*one.unavailable.values()}
        assert len(told) == 1
        assert {"hang": "gave no answer for 0.2 s", "crash": "died by signal 11"}[how] in told.pop()
        assert ([], {}) == (one._source.skipped, one.states)
        fake.says(**{f"{how}__nvmlInitWithFlags": None})
        sampled_until(one, lambda sampled: f"hw.power {GPU0}" in sampled.values, sampled)
        assert {} == dict(one.unavailable)


def test_a_helper_that_is_killed_is_replaced(fake: FakeGPUs) -> None:
    """What it was doing meanwhile is not held against a call."""
    one = sampler()
    sampled = first_reading(one)
    before = helper_of(one)
    poll("a moment between two readings", lambda: one._source._is_asked)
    os.kill(before, signal.SIGKILL)
    sampled_until(one, lambda _: one._source.failures["died"] == 1, sampled)
    sampled_until(one, lambda _: one._source._process and one._source._has_answered, sampled)
    assert helper_of(one) != before


def test_what_is_not_told_any_more_ages(fake: FakeGPUs) -> None:
    """While the helper hangs, no old value is told again as if it were new."""
    one = sampler()
    first_reading(one)
    fake.says(hang__nvmlDeviceGetPowerUsage=1)
    sampled = Sampled()
    sampled_until(one, lambda sampled: sampled.values.get("holter.gpu.reading_age", 0) > TIMEOUT / 2, sampled)
    stale = Sampled()
    one.sample(stale)
    assert {"holter.gpu.reading_age", "holter.gpu.helper.failures"} >= set(stale.metrics)


def test_averages_are_told_from_the_second_reading_on() -> None:
    """Of samples that are far enough apart, however often it is asked; of a part of a GPU as of the whole one."""
    with fake_gpus(1, parts__0=1, gpm_shortest=0.1) as fake:
        one, part = sampler(), f"MIG-01000000-0000-0000-0000-000000000000 GPU 0 part 0 gpu {UUIDS[0]}"
        names_of = {f"holter.gpu.sm_utilization {which}" for which in (GPU0, part)}
        sampled = first_reading(one)
        assert not names_of & set(sampled.values)
        sampled_until(one, lambda sampled: names_of <= set(sampled.values), sampled)
        assert {
            f"holter.gpu.sm_utilization {GPU0}": 0.02,
            f"holter.gpu.sm_utilization {part}": 0.12,
            f"hw.gpu.utilization {GPU0} general": 0.5,
            f"hw.gpu.utilization {part} general": 0.11,
            f"holter.gpu.pipe_activity {GPU0} tensor": 0.05,
            f"holter.gpu.memory_bandwidth_utilization {GPU0}": 0.1,
            f"holter.gpu.nvlink_rate {GPU0} receive": 60 * 2**20,
        }.items() <= sampled.values.items()
        fake.says(gpm__2__0=90)
        sampled_until(one, lambda sampled: sampled[f"holter.gpu.sm_utilization {GPU0}"] == 0.9, sampled)
        assert {} == dict(one.unavailable)
    assert ("By/s", "gauge") == sampled.metrics["holter.gpu.nvlink_rate"]


def test_averages_that_crash_are_not_asked_for_again(fake: FakeGPUs) -> None:
    """All else is told by the next helper."""
    fake.says(crash__nvmlGpmSampleGet=1)
    one = sampler()
    sampled = sampled_until(one, lambda sampled: f"hw.power {GPU0}" in sampled.values)
    assert "has hung or killed" in one.unavailable["holter.gpu.sm_utilization"]
    assert (AVAILABLE, 1) == (one.states[UUIDS[0]]["hw.gpu.utilization"], sampled["holter.gpu.helper.failures died"])


@pytest.mark.parametrize("hurt", [{"gpm_breaks": 1}, {"parts__0": 0}])
def test_averages_that_break_what_else_is_told_are_given_up(hurt: dict[str, int]) -> None:
    """By a new helper, which does not ask for them; a part that was taken away is no reason to."""
    with fake_gpus(1, parts__0=1) as fake:
        one, part = sampler(), f"MIG-01000000-0000-0000-0000-000000000000 GPU 0 part 0 gpu {UUIDS[0]}"
        first = sampled_until(one, lambda sampled: f"holter.gpu.sm_utilization {part}" in sampled.values)
        assert first[f"hw.gpu.memory.usage {part}"] == 1 << 30
        before = helper_of(one)
        fake.says(**hurt)
        if "parts__0" in hurt:
            sampled_until(one, lambda _: len(one.states) == 1)
            assert (before, []) == (helper_of(one), one._source.skipped)
            return
        sampled_until(one, lambda _: one._source.skipped == ["nvmlGpmMetricsGet"])
        assert (
            one.unavailable["hw.power"]
            == "unavailable, because after nvmlGpmMetricsGet a part's memory could not be read"
        )
        after = Sampled()
        sampled_until(one, lambda _: f"hw.gpu.memory.usage {part}" in after.values, after)
        assert "or broken its other calls" in one.unavailable["holter.gpu.sm_utilization"]
        assert {"died": 0, "hung": 0} == one._source.failures


def test_counters_that_wrap_or_begin_anew_go_on(fake: FakeGPUs) -> None:
    """What they have grown since is counted, never less than nothing."""
    fake.says(energy__0=5_000_000, replays__0=2**32 - 1)
    with holter.Monitor("wrap", samplers=[sampler()], interval_seconds=60.0) as monitor:

        def total(metric: str) -> float | None:
            found = monitor.snapshot().find(metric)
            return None if found is None else found.total.sum

        poll("the first reading", lambda: total("hw.energy") == 0.0)
        fake.says(energy__0=7_000_000)
        poll("its growth", lambda: total("hw.energy") == 2000.0)
        fake.says(energy__0=1_000_000, replays__0=3)
        poll("the new beginning", lambda: (total("hw.energy"), total("holter.gpu.pcie_replays")) == (3000.0, 3.0))


def test_error_events_are_counted_by_code(fake: FakeGPUs) -> None:
    """Each one, by a thread of the helper's that waits for them."""
    one = sampler()
    sampled = first_reading(one)
    name = f"holter.gpu.xid {GPU0} 79"
    assert name not in sampled.values
    for number in (1, 2):
        fake.says(xid=f"0:79:{number}")
        sampled_until(one, lambda sampled, number=number: sampled.values.get(name) == number, sampled)
    assert sampled.metrics["holter.gpu.xid"] == ("{event}", "counter")
    assert one.states[UUIDS[0]]["holter.gpu.xid"] == AVAILABLE


def test_an_event_is_told_though_all_else_hangs(fake: FakeGPUs) -> None:
    """As when a GPU has fallen off its bus."""
    one = GPUSampler(0.02, timeout_seconds=60.0)
    sampled = first_reading(one)
    fake.says(hang__nvmlDeviceGetPowerUsage=1, xid="0:79:1")
    sampled_until(one, lambda sampled: f"holter.gpu.xid {GPU0} 79" in sampled.values, sampled)
    os.kill(helper_of(one), signal.SIGKILL)


def test_the_first_event_of_a_code_is_growth(fake: FakeGPUs) -> None:
    """Which a counter's first value alone is not."""
    with holter.Monitor("xid", samplers=[sampler()], interval_seconds=60.0) as monitor:
        poll("the first reading", lambda: monitor.snapshot().find("hw.power"))
        fake.says(xid="0:48:1")
        found = poll("the event", lambda: monitor.snapshot().find("holter.gpu.xid"))
        assert found.total.sum == 1


def test_a_library_without_events_says_so(fake: FakeGPUs) -> None:
    """The rest is told."""
    fake.says(fail__nvmlDeviceRegisterEvents=3)
    one = sampler()
    sampled_until(one, lambda _: one.states and one.states[UUIDS[0]]["holter.gpu.xid"] != AVAILABLE)
    assert one.states[UUIDS[0]]["holter.gpu.xid"] == (
        "unavailable, because nvmlDeviceRegisterEvents says: Not Supported"
    )
    assert one.states[UUIDS[0]]["hw.power"] == AVAILABLE


def test_the_program_is_told_from_its_helper(fake: FakeGPUs) -> None:
    """Its own memory on the GPU is its own, not the helper's."""
    fake.says(process__0=f"{os.getpid()}:4096")
    assert first_reading(sampler())[f"holter.gpu.process.memory {GPU0} own"] == 4096


def test_the_helper_is_small(fake: FakeGPUs) -> None:
    """It imports neither numpy nor the package, and says what it costs."""
    one = sampler()
    sampled = first_reading(one)
    maps = Path(f"/proc/{helper_of(one)}/maps").read_text()
    assert "numpy" not in maps
    assert "libnvidia-ml.so.1" in maps
    assert 5 << 20 < sampled["holter.gpu.helper.memory"] < 32 << 20
    assert 0 < sampled["holter.gpu.helper.cpu_time"] < 10


def test_the_helper_goes_with_its_sampler(fake: FakeGPUs) -> None:
    """When nobody holds the sampler any more."""
    one = sampler()
    first_reading(one)
    pid = helper_of(one)
    del one
    gc.collect()
    ends(pid)


def test_a_helper_is_let_go(fake: FakeGPUs) -> None:
    """By whoever has sampled enough; who samples again has another one."""
    one = sampler()
    first_reading(one)
    pid, before = helper_of(one), one._read_ns
    one.close()
    ends(pid)
    sampled_until(one, lambda _: one._read_ns != before)
    assert {"died": 0, "hung": 0} == one._source.failures


def test_the_end_of_the_thread_that_started_it_is_no_failure(fake: FakeGPUs) -> None:
    """Linux ends a helper with that thread; the next sample starts another one."""
    one, sampled = sampler(), Sampled()

    def sample() -> None:
        first_reading(one)

    thread = threading.Thread(target=sample)
    thread.start()
    thread.join()
    ends(helper_of(one))
    before = one._read_ns
    sampled_until(one, lambda _: one._read_ns != before, sampled)
    assert {"died": 0, "hung": 0} == one._source.failures


PROGRAM = """
import json, os, signal, sys, time
import holter
sampler = holter.GPUSampler(0.2, timeout_seconds=60.0)
sampler.budget = 1.0
monitor = holter.Monitor("program", samplers=[sampler], interval_seconds=0.05, recording=False).start()
while sampler._read_ns is None:
    time.sleep(0.01)
pid = sampler._source._process.pid
"""


@pytest.mark.parametrize("how", ["raise SystemExit", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("hangs", [False, True])
def test_the_helper_goes_with_its_program(hangs: bool, how: str, fake: FakeGPUs) -> None:  # noqa: FBT001  a case
    """However that ends, and though the helper itself hangs in a call; the program waits for nothing."""
    ending = (
        """
with open(os.environ["FAKE_NVML"], "a") as file:
    file.write("hang.nvmlDeviceGetPowerUsage=1\\n")
before = sampler._read_ns
while time.monotonic_ns() - sampler._read_ns < 1e9:
    time.sleep(0.05)
"""
        if hangs
        else ""
    )
    begun = time.monotonic()
    done = run(f"{PROGRAM}{ending}print(pid, flush=True)\n{how}\n", within=60)
    assert done.stderr == ""
    ends(int(done.stdout))
    assert time.monotonic() - begun < 30


def test_a_forked_child_owns_no_helper(fake: FakeGPUs) -> None:
    """It has no pipe of it, which ends with its own parent though the child lives on; the child starts another one."""
    program = """
import subprocess
read, write = os.pipe()
child = os.fork()
if child == 0:
    assert sampler._source._process is None
    monitor.watch(abs)(-1)          # the child records, and so its monitor goes on
    while sampler._source._process is None or not sampler._source._has_answered:
        time.sleep(0.01)
    print(json.dumps([pid, sampler._source._process.pid, os.getpid()]), flush=True)
    os.read(read, 1)
    os._exit(0)
os.close(read)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL) if len(sys.argv) > 1 else os.waitpid(child, 0)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + program, "kill"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        parents, childs, child = json.loads(process.stdout.readline())
        assert parents != childs
        ends(parents)
        assert is_running(child)
        process.stdout.close()
        os.kill(child, signal.SIGKILL)
        ends(childs)


def test_in_process_all_but_events_is_told(fake: FakeGPUs) -> None:
    """By this process itself, without a helper."""
    load()
    one = sampler(in_process=True)
    sampled = Sampled()
    one.sample(sampled)
    assert sampled[f"hw.power {GPU0}"] == 300.0
    assert not [name for name in sampled.metrics if "helper" in name]
    assert ["holter.gpu.xid"] == list(one.unavailable)


def test_in_process_a_forked_child_leaves_the_library_alone(fake: FakeGPUs) -> None:
    """It does not survive a fork, and is not asked."""
    load()
    one = sampler(in_process=True)
    one.sample(Sampled())
    child = os.fork()
    if child == 0:
        sampled = Sampled()
        one.sample(sampled)
        is_well = set(sampled.metrics) <= {"holter.gpu.reading_age"} and "fork" in one.unavailable["hw.power"]
        os._exit(0 if is_well else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_without_a_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on trying, at ever longer intervals."""
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    one = sampler()
    sampled_until(one, lambda _: "Not Found" in one._source.reason)
    assert one.unavailable["hw.power"].startswith("unavailable, because the driver's library says: NVML Shared Library")


def test_without_the_binding_it_says_what_to_install(fake: FakeGPUs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that mends it."""
    monkeypatch.setattr("holter.companion.find_spec", lambda _: None)
    one = sampler()
    sampled_until(one, lambda _: "installed" in one._source.reason)
    assert one.unavailable["hw.power"] == (
        "unavailable, because nvidia-ml-py is not installed: pip install 'holter[gpu]'"
    )


def test_a_helper_that_cannot_be_started_is_told(fake: FakeGPUs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Python is part of another program."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    one = sampler()
    one.sample(Sampled())
    assert "the helper could not be started: " in one.unavailable["hw.power"]


def test_a_driver_is_found_by_its_files(tmp_path: Path) -> None:
    """In the folders where they lie, or where the loader is told to look; nothing is loaded."""
    assert not has_driver(tmp_path, "")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/libnvidia-ml.so.1").touch()
    assert has_driver(tmp_path, f"/nowhere:{tmp_path}/own")
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.999")
    assert has_driver(tmp_path, "")
    (tmp_path / "usr/lib64/libnvidia-ml.so.1").unlink()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert has_driver(tmp_path, "")


def test_a_monitor_samples_gpus_where_there_is_a_driver(fake: FakeGPUs, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself; without a driver there is no such sampler, and no helper."""
    assert [one for one in standard_samplers() if isinstance(one, GPUSampler)]
    monkeypatch.delenv("LD_LIBRARY_PATH")
    if not has_driver():
        assert not [one for one in standard_samplers() if isinstance(one, GPUSampler)]


def test_it_is_a_sampler_with_an_interval() -> None:
    """It satisfies the Protocol, tells what it was made with, and refuses what cannot work."""
    assert isinstance(GPUSampler(), Sampler)
    assert GPUSampler.whole_host
    assert repr(GPUSampler(3, in_process=True, timeout_seconds=5)) == (
        "GPUSampler(interval_seconds=3.0, in_process=True, timeout_seconds=5.0)"
    )
    for options in ({"interval_seconds": 0}, {"timeout_seconds": -1}):
        with pytest.raises(ConfigurationError, match="must be greater than 0"):
            GPUSampler(**options)


WORKER = """
import json, sys, time
import holter
sampler = holter.GPUSampler(0.05)
monitor = holter.Monitor("crew", samplers=[sampler], interval_seconds=0.1, group="gpu").start()
print(json.dumps(monitor._membership.leads), flush=True)
for line in sys.stdin:
    process = sampler._source._process
    print(json.dumps(None if process is None else process.pid), flush=True)
monitor.stop()
"""


def test_one_process_of_a_group_has_a_helper(fake: FakeGPUs) -> None:
    """The one that leads; when it ends, the next one has one."""
    crew = [
        subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    def ask(one: Any) -> Any:
        one.stdin.write("\n")
        one.stdin.flush()
        return json.loads(one.stdout.readline())

    try:
        leads = [json.loads(one.stdout.readline()) for one in crew]  # type: ignore[union-attr]
        assert sorted(leads) == [False, True]
        leader, other = (crew[leads.index(True)], crew[leads.index(False)])
        helper = poll("the leader's helper", lambda: ask(leader))
        assert ask(other) is None
        leader.communicate("")
        ends(helper)
        poll("the next leader's helper", lambda: ask(other))
    finally:
        for one in crew:
            one.kill()
            one.communicate()


def test_a_call_is_told_its_energy(fake: FakeGPUs) -> None:
    """At 300 W, some 300 J a second of its time; and a GPU in use half of the time idles the other half meanwhile."""
    with holter.Monitor("energy", samplers=[GPUSampler(0.1)], interval_seconds=0.1) as monitor:
        work = monitor.watch(time.sleep, name="work")

        def joules() -> float:
            work(0.05)
            found = monitor.snapshot().find(names.CALL_ENERGY, {names.CALL_NAME: "work"})
            return 0.0 if found is None else found.total.sum

        begun = time.monotonic()
        poll("a hundred joules", lambda: joules() > 100.0)
        snapshot, passed = monitor.snapshot(), time.monotonic() - begun
    lived, told = snapshot.find(work), snapshot.find(names.CALL_ENERGY)
    taken = snapshot.find(names.HARDWARE_ENERGY)
    assert lived is not None
    assert told is not None
    assert taken is not None
    assert 0 < told.total.sum <= min(taken.total.sum, 300.0 * lived.total.sum * 1.2)
    idle = snapshot.find(names.GPU_IDLE_IN_CALLS)
    assert idle is not None
    assert 0 <= idle.total.sum <= 0.5 * passed


SHARING = """
import json, sys, time
import holter
from holter import names
monitor = holter.Monitor("crew", samplers=[holter.GPUSampler(0.1)], interval_seconds=0.1, group="shared").start()
print(json.dumps(monitor._membership.leads), flush=True)
work = monitor.watch(time.sleep, name="work")
works = sys.stdin.readline().strip() == "work"
until = time.monotonic() + 60
while time.monotonic() < until:
    if works:
        work(0.05)
    found = monitor.snapshot().find(names.CALL_ENERGY, {names.CALL_NAME: "work"})
    if found is not None and found.total.sum > 0:
        print(json.dumps(found.total.sum), flush=True)
        break
    time.sleep(0.01)
sys.stdin.readline()
"""


def test_calls_of_other_processes_have_their_share(fake: FakeGPUs) -> None:
    """The one that leads tells the energy of calls that only another one makes."""
    crew = [
        subprocess.Popen([sys.executable, "-c", SHARING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        leads = [json.loads(one.stdout.readline()) for one in crew]  # type: ignore[union-attr]
        leader, other = (crew[leads.index(True)], crew[leads.index(False)])
        for one, word in ((leader, "rest"), (other, "work")):
            assert one.stdin is not None
            one.stdin.write(f"{word}\n")
            one.stdin.flush()
        assert leader.stdout is not None
        assert json.loads(leader.stdout.readline()) > 0
    finally:
        for one in crew:
            one.kill()
            one.communicate()


SHIPPED = {
    names.GPU_UTILIZATION: ("1", 0.5),
    names.GPU_MEMORY_USAGE: ("By", float(10 << 30)),
    names.HARDWARE_POWER: ("W", 300.0),
    names.HARDWARE_TEMPERATURE: ("Cel", 60.0),
    names.GPU_CLOCK: ("Hz", 1e9),
    names.GPU_SM_UTILIZATION: ("1", 0.02),
    names.GPU_PCIE_RATE: ("By/s", 20.0 * 2**20),
}


def test_figures_are_read_back_through_the_exporters(fake: FakeGPUs, tmp_path: Path) -> None:
    """In the conventions' names and units: the log, the CSV, the page for Prometheus."""
    log, table, page = tmp_path / "h.jsonl", tmp_path / "h.csv", holter.Prometheus(0)
    exporters = [holter.LogFile(log, every_seconds=0.2), holter.CSVFile(table, every_seconds=0.2), page]
    with holter.Monitor("shipped", samplers=[sampler()], exporters=exporters, interval_seconds=0.1) as monitor:
        poll("the second reading", lambda: monitor.snapshot().find(names.GPU_SM_UTILIZATION))
        monitor.flush()
        found = values(get(f"http://127.0.0.1:{page.port}/metrics")[2].decode())
    labels = f'hw_id="{UUIDS[0]}",hw_name="GPU 0",hw_type="gpu"'
    at_gpu = labels.replace(",hw_type", ',hw_sensor_location="gpu",hw_type')
    assert {
        f"hw_power_watts{{{labels}}}": 300.0,
        f"hw_gpu_memory_usage_bytes{{{labels}}}": float(10 << 30),
        f'hw_gpu_utilization_ratio{{hw_gpu_task="general",{labels}}}': 0.5,
        f"holter_gpu_sm_utilization_ratio{{{labels}}}": 0.02,
        f'holter_gpu_pcie_rate_bytes_per_second{{{labels},network_io_direction="transmit"}}': 20.0 * 2**20,
        f"hw_temperature_celsius{{{at_gpu}}}": 60.0,
    }.items() <= found.items()
    assert f"hw_energy_joules_total{{{labels}}}" in found
    assert [name for name in found if name.startswith("holter_gpu_info{") and 'hw_model="Fake GPU"' in name]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    for name, (unit, value) in SHIPPED.items():
        mine = [row for row in rows if row["metric"] == name and row["statistic"] == "last"]
        assert mine, name
        assert {unit} == {row["unit"] for row in mine}
        assert value in {float(row["value"]) for row in mine}
        assert {UUIDS[0]} == {json.loads(row["attributes"])["hw.id"] for row in mine}
    text = log.read_text()
    assert all(f'"{name}"' in text for name in (*SHIPPED, names.HARDWARE_ENERGY))


def test_figures_are_read_back_over_otlp(fake: FakeGPUs) -> None:
    """As a collector gets them."""
    receivers = pytest.importorskip("receivers", reason="needs gRPC and OTLP: pip install 'holter[otlp,otlp-grpc]'")
    exporter_module = pytest.importorskip("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    with receivers.over_http() as receiver:
        exporter = holter.OpenTelemetry(exporter_module.OTLPMetricExporter(receiver.url), every_seconds=0.2)
        with holter.Monitor("otlp", samplers=[sampler()], exporters=[exporter], interval_seconds=0.1) as monitor:
            poll("the second reading", lambda: monitor.snapshot().find(names.GPU_SM_UTILIZATION))
            monitor.flush()
        told = {
            metric.name: metric
            for request in receiver.requests
            for owner in request.resource_metrics
            for scope in owner.scope_metrics
            for metric in scope.metrics
        }
    power = told["hw.power"]
    (point,) = power.gauge.data_points
    assert ("W", 300.0) == (power.unit, point.as_double)
    assert {"hw.id": UUIDS[0], "hw.name": "GPU 0", "hw.type": "gpu"} == {
        one.key: one.value.string_value for one in point.attributes
    }
    assert told["hw.energy"].sum.is_monotonic
    assert told["hw.energy"].unit == "J"
    assert {figure.name for figure in FIGURES.values()} <= {*told}


@pytest.mark.parametrize("code", [FUNCTION_NOT_FOUND])
def test_what_a_driver_lacks_is_left_out_of_what_is_shipped(code: int, fake: FakeGPUs) -> None:
    """No zero stands for what is not known."""
    fake.says(fail__nvmlDeviceGetPowerUsage=code)
    with holter.Monitor("without", samplers=[sampler()], interval_seconds=60.0) as monitor:
        poll("the first reading", lambda: monitor.snapshot().find("hw.temperature"))
        assert monitor.snapshot().find("hw.power") is None
