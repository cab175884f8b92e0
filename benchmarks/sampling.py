"""
What samplers of the process, its children, the host and the container cost, beside peers, and on a real monitor.

First the CPU time of one sample, into a real recorder, beside nvitop's collector (its part without GPUs), psutil
asked for the same figures one after the other, and the system metrics of OpenTelemetry. Then monitors that sample
everything each second (files, as by default, each minute), ones that sample what they do by default, and ones that
sample nothing, in turns: the samplers' threads take at most 0.2 % of a core, in the median of the rounds.

    pip install nvitop opentelemetry-instrumentation-system-metrics
    python benchmarks/sampling.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nvitop
import psutil
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import holter
from holter.sampling import SampleRecorder
from runner import Measure, compare

SAMPLES = 50
ROUNDS = 5
SECONDS = 15
MOST_SHARE = 0.002
PROGRAM = """
import sys, threading, time
import holter

samplers = {
    "none": [],
    "default": None,
    "all": [
        holter.ProcessSampler(1.0), holter.ProcessTreeSampler(1.0), holter.HostSampler(1.0),
        holter.ContainerSampler(1.0), holter.RuntimeSampler(1.0), holter.Storage(sys.argv[2]),
    ],
}[sys.argv[1]]

def spent():
    # Of the whole process, and of what is no sampler's.
    others = 0
    for thread in threading.enumerate():
        if thread.name in ("MainThread", "holter-collector", "holter-Notices"):
            with open(f"/proc/self/task/{thread.native_id}/schedstat") as file:
                others += int(file.read().split()[0])
    return time.process_time_ns(), others

with holter.Monitor("sampling", samplers=samplers):
    time.sleep(3)
    (all_before, others_before), since = spent(), time.monotonic_ns()
    time.sleep(float(sys.argv[3]))
    (all_after, others_after), passed = spent(), time.monotonic_ns() - since
    whole = all_after - all_before
    print(whole / passed, (whole - others_after + others_before) / passed)
"""


def each_sample(sample: Callable[[], object]) -> Measure:
    """Return a measure of the CPU time of one sample, in microseconds."""

    def measure() -> float:
        sample()
        begun_ns = time.thread_time_ns()
        for _ in range(SAMPLES):
            sample()
        return (time.thread_time_ns() - begun_ns) / SAMPLES / 1e3

    return measure


def of_psutil() -> Callable[[], object]:
    """Return what asks psutil for the same figures, one after the other, but for the container's."""
    process = psutil.Process()

    def ask() -> None:
        with process.oneshot():
            process.cpu_times()
            process.memory_info()
            process.io_counters()
            process.num_threads()
            process.num_fds()
            process.num_ctx_switches()
            process.cpu_affinity()
        for child in process.children(recursive=True):
            with child.oneshot():
                child.cpu_times()
                child.memory_info()
                child.num_threads()
        psutil.cpu_times()
        psutil.virtual_memory()
        psutil.disk_io_counters(perdisk=True, nowrap=False)
        psutil.net_io_counters(pernic=True, nowrap=False)
        psutil.getloadavg()

    return ask


def of_opentelemetry() -> Callable[[], object]:
    """Return what collects the system metrics of OpenTelemetry, all that are on by default."""
    reader = InMemoryMetricReader()
    SystemMetricsInstrumentor().instrument(meter_provider=MeterProvider([reader]))
    return reader.get_metrics_data


def one_sample() -> None:
    samplers: dict[str, holter.Sampler] = {
        "holter's process": holter.ProcessSampler(),
        "holter's process tree": holter.ProcessTreeSampler(),
        "holter's host": holter.HostSampler(),
        "holter's container": holter.ContainerSampler(),
    }
    monitor = holter.Monitor("sampling", samplers=[], recording=False)
    record = SampleRecorder(monitor._scope)  # noqa: SLF001 - what a monitor hands to its samplers

    def everything() -> None:
        for sampler in samplers.values():
            sampler.sample(record)

    results = compare(
        {
            "holter's four": each_sample(everything),
            **{name: each_sample(lambda one=one: one.sample(record)) for name, one in samplers.items()},  # type: ignore[misc]  # a lambda's default
            "nvitop's collector, no GPU": each_sample(nvitop.ResourceMetricCollector([]).take_snapshots),
            "psutil, the same figures": each_sample(of_psutil()),
            "OpenTelemetry's system metrics": each_sample(of_opentelemetry()),
        },
        unit="us",
        packages=("psutil", "nvitop", "opentelemetry-instrumentation-system-metrics"),
    )
    print(f"processes: {len(psutil.pids())}")
    results.show(reference="holter's four")
    assert results.ratio("psutil, the same figures", "holter's four") > 1
    assert results.ratio("OpenTelemetry's system metrics", "holter's four") > 1


def shares_of_a_core(what: str, folder: str) -> tuple[float, float]:
    """Return those of a process in which a monitor runs and nothing else: the whole, and what is the samplers'."""
    command = [sys.executable, "-c", PROGRAM, what, folder, str(SECONDS)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    whole, samplers = map(float, told.stdout.split())
    return whole, samplers


def on_a_monitor() -> None:
    sampling: dict[str, list[float]] = {"all": [], "default": []}
    collecting: dict[str, list[float]] = {"all": [], "default": [], "none": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(100):
            Path(folder, str(number)).touch()
        for _ in range(ROUNDS):
            for what, others in collecting.items():
                whole, samplers = shares_of_a_core(what, folder)
                others.append(whole - samplers)
                if what != "none":
                    sampling[what].append(samplers)
    for thread, shares in (("samplers", sampling), ("collector", collecting)):
        for what, figures in shares.items():
            print(
                f"{thread}, {what}: median {statistics.median(figures):.3%} of a core, "
                f"{min(figures):.3%} to {max(figures):.3%}"
            )
    assert statistics.median(sampling["all"]) <= MOST_SHARE


if __name__ == "__main__":
    one_sample()
    on_a_monitor()
