"""
What a sample of GPUs costs the program and the helper process, beside reading them in the program.

The driver's library is the one of the tests, which answers at once: a real driver's calls come on top, in the helper.

    python benchmarks/gpu_sampling.py
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fakegpus import fake_gpus, first_reading, load
from holter import GPUSampler
from holter.recorder import Recorder
from holter.sampling import SampleRecorder
from holter.scope import Scope
from runner import machine

SAMPLES = 60
EVERY_SECONDS = 0.05


def cost(gpus: int, *, in_process: bool) -> tuple[float, float, int, float]:
    """Return CPU milliseconds a sample in the program and in the helper, series, and the helper's MiB."""
    with fake_gpus(gpus):
        sampler = GPUSampler(EVERY_SECONDS, in_process=in_process)
        first_reading(sampler)
        scope = Scope(recorder=Recorder())
        record, spent = SampleRecorder(scope), []
        began = dict(sampler._source.cost)  # noqa: SLF001 - what it says of itself
        read_ns, readings = sampler._read_ns, 0  # noqa: SLF001
        while readings < SAMPLES:
            begun = time.thread_time_ns()
            sampler.sample(record)
            took = time.thread_time_ns() - begun
            if sampler._read_ns != read_ns:  # noqa: SLF001
                read_ns, readings = sampler._read_ns, readings + 1  # noqa: SLF001
                spent.append(took / 1e6)
            time.sleep(EVERY_SECONDS)
        ended = sampler._source.cost  # noqa: SLF001
        helper = (ended.get("cpu_seconds", 0.0) - began.get("cpu_seconds", 0.0)) * 1e3 / SAMPLES
        return statistics.median(spent), helper, len(scope.table), ended.get("memory_bytes", 0.0) / 2**20


def main() -> None:
    load()
    print(machine(["nvidia-ml-py"]))
    for gpus in (1, 8):
        beside = cost(gpus, in_process=False)
        inside = cost(gpus, in_process=True)
        print(
            f"{gpus} GPUs: {beside[0]:.2f} ms of CPU a sample in the program, {beside[1]:.2f} ms in the helper, which "
            f"holds {beside[3]:.0f} MiB; {beside[2]} series; read in the program: {inside[0]:.2f} ms"
        )
        # Once a second: a third of a percent of a core for eight of them.
        assert beside[0] < inside[0]


if __name__ == "__main__":
    main()
