"""
What samplers of the process, its children, the host and the container cost, beside peers, and on a real monitor.

First the CPU time of one sample, into a real recorder, beside nvitop's collector (its part without GPUs), psutil
asked for the same figures one after the other, and the system metrics of OpenTelemetry. Then monitors that sample
everything each second and ones that sample nothing, in turns: the difference is at most 0.2 % of a core.

    pip install nvitop opentelemetry-instrumentation-system-metrics
    python benchmarks/sampling.py
"""

from __future__ import annotations

import os
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
import sys, time
import holter

everything = [
    holter.ProcessSampler(1.0), holter.ProcessTreeSampler(1.0), holter.HostSampler(1.0), holter.ContainerSampler(1.0),
    holter.Storage(sys.argv[2], interval_seconds=1.0),
]
with holter.Monitor("sampling", samplers=everything if sys.argv[1] == "all" else []) as monitor:
    time.sleep(3)
    begun, since = time.process_time(), time.monotonic()
    time.sleep(float(sys.argv[3]))
    print((time.process_time() - begun) / (time.monotonic() - since))
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


def share_of_a_core(what: str, folder: str) -> float:
    command = [sys.executable, "-c", PROGRAM, what, folder, str(SECONDS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout)


def on_a_monitor() -> None:
    differences = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(100):
            Path(folder, str(number)).touch()
        for _ in range(ROUNDS):
            without, everything = (share_of_a_core(what, folder) for what in ("none", "all"))
            differences.append(everything - without)
            print(f"share of a core: without samplers {without:.4%}, with all each second {everything:.4%}")
    share = statistics.median(differences)
    print(f"all samplers each second: {share:.4%} of a core")
    assert share <= MOST_SHARE


if __name__ == "__main__":
    one_sample()
    on_a_monitor()
