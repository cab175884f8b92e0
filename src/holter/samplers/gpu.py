"""What the GPUs are doing that the program may use: NVIDIA's, through NVML."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from holter import names
from holter.arguments import positive_seconds
from holter.clock import SYSTEM, Clock
from holter.companion import Companion, InProcess, Source
from holter.gpufigures import FIGURES, METRICS, GPUReading
from holter.metric import Attributes
from holter.model import Record

_LIBRARY: Final = "libnvidia-ml.so.1"
_FOLDERS: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
)
_OTHERS: Final = ("/proc/driver/nvidia/version", "/dev/nvidiactl")
AVAILABLE: Final = "available"


def has_driver(root: Path = Path("/"), search: str | None = None) -> bool:
    """Return whether there seems to be a driver of NVIDIA's: some files are looked for, nothing is loaded; 50 µs."""
    if sys.platform == "win32":
        return Path(os.environ.get("WINDIR", "C:/Windows"), "System32/nvml.dll").exists()
    told = os.environ.get("LD_LIBRARY_PATH", "") if search is None else search
    folders = [Path(folder) for folder in told.split(":") if folder]
    folders += [root / folder.lstrip("/") for folder in _FOLDERS]
    return any(os.path.lexists(folder / _LIBRARY) for folder in folders) or any(
        os.path.lexists(root / other.lstrip("/")) for other in _OTHERS
    )


class GPUSampler:
    """
    The figures of the GPUs that this program may use, by OpenTelemetry's names (``hw.*``) where there are any.

    They are NVIDIA's, read through NVML, by ``CUDA_VISIBLE_DEVICES`` as it is at the first sample; ``hw.id`` is the
    UUID, ``hw.name`` the number that CUDA gives. Reads: utilisation, memory, power, energy, temperatures, clocks, what
    holds the clocks down, PCIe and NVLink, ECC errors, remapped rows, error events (Xid), encoder and decoder, what
    this process and its children use of it, the parts of a divided GPU (MIG), and of Hopper and newer models what was
    busy in it between two readings: multiprocessors, tensor cores, memory's bandwidth.

    NVML may hang or crash inside a call, so a helper process reads, and a sample only takes what that has said last,
    which waits for nothing. One that dies, or gives no answer for *timeout_seconds*, is started again, and the call
    that did it is not made any more. With *in_process* it is this process that reads, where a call that hangs hangs the
    samplers; there are no Xid events then, and nothing in a forked child. `unavailable` tells what cannot be read, and
    why; one figure that fails stops no other.

    Of several processes of a service the one that leads them samples.

    >>> GPUSampler(interval_seconds=5.0)
    GPUSampler(interval_seconds=5.0)

    Raises:
        ConfigurationError: *interval_seconds* or *timeout_seconds* is not a positive number.
    """

    whole_host = True
    budget = 0.01
    """Twice what others may take of a core: eight GPUs are 500 figures, and who has eight has many cores."""

    def __init__(
        self,
        interval_seconds: float = 1.0,
        *,
        in_process: bool = False,
        timeout_seconds: float = 10.0,
        _clock: Clock = SYSTEM,
        _shares_pids: bool | None = None,
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self.timeout_seconds = positive_seconds("timeout_seconds", timeout_seconds)
        self.in_process = bool(in_process)
        self._clock = _clock
        self._source = self._source_of(_shares_pids)
        self._gpus: list[GPUReading] = []
        self._read_ns: int | None = None
        self._attributes: dict[tuple[str, str], Attributes] = {}
        self._xids: dict[tuple[str, str], int] = {}

    def _source_of(self, shares_pids: bool | None) -> Source:  # noqa: FBT001 - None: to be found out
        if self.in_process:
            return InProcess(clock=self._clock, shares_pids=shares_pids)
        return Companion(
            interval_seconds=self.interval_seconds,
            timeout_seconds=self.timeout_seconds,
            clock=self._clock,
            shares_pids=shares_pids,
        )

    def __repr__(self) -> str:
        options = [f"interval_seconds={self.interval_seconds!r}"]
        options += ["in_process=True"] if self.in_process else []
        options += [f"timeout_seconds={self.timeout_seconds!r}"] if self.timeout_seconds != 10.0 else []  # noqa: PLR2004  the default above
        return f"GPUSampler({', '.join(options)})"

    @property
    def states(self) -> Mapping[str, Mapping[str, str]]:
        """For each GPU by its UUID, each metric's state: "available" or "unavailable, because ..."."""
        why = self._source.reason
        lost = f"unavailable, because {why}" if why else ""
        return MappingProxyType(
            {
                gpu["id"]: MappingProxyType(
                    {metric: lost or gpu.get("missing", {}).get(metric, AVAILABLE) for metric in METRICS}
                )
                for gpu in self._gpus
            }
        )

    @property
    def unavailable(self) -> Mapping[str, str]:
        """
        The metrics that cannot be read: name to "unavailable, because ...".

        Where some GPUs have a metric and others don't, their names stand behind the metric's: "hw.power of GPU 1".
        """
        if self._source.reason:
            return dict.fromkeys(METRICS, f"unavailable, because {self._source.reason}")
        if not self._gpus:
            return dict.fromkeys(METRICS, f"unavailable, because {self._nothing()}")
        found: dict[str, str] = {}
        there = {gpu["id"] for gpu in self._gpus}
        # What a part does not have, its GPU does.
        gpus = [gpu for gpu in self._gpus if gpu.get("parent") not in there]
        for metric in METRICS:
            missing = {gpu["name"]: why for gpu in gpus if (why := gpu.get("missing", {}).get(metric))}
            if len(missing) == len(gpus) and len({*missing.values()}) == 1:
                found[metric] = next(iter(missing.values()))
            else:
                found |= {f"{metric} of {name}": why for name, why in missing.items()}
        return MappingProxyType(found)

    def _nothing(self) -> str:
        devices = os.environ.get("CUDA_VISIBLE_DEVICES")
        if devices is None:
            return "the driver knows no GPU"
        return f"CUDA_VISIBLE_DEVICES={devices[:100]!r} leaves no GPU to this program"

    def sample(self, record: Record) -> None:
        """Hand what was read last to *record*; waits for nothing, unless it reads in this process."""
        told = self._source.turn()
        if told is not None:
            self._gpus, self._read_ns = told["gpus"], told["time_ns"]
            for gpu in self._gpus:
                self._tell(gpu, record)
        if self._read_ns is not None:
            age = max(0.0, (self._clock.monotonic_ns() - self._read_ns) / 1e9)
            record(names.GPU_READING_AGE, age, unit="s", across="max")
        if self.in_process:
            return
        self._tell_events(record)
        for how, count in self._source.failures.items():
            record(
                names.GPU_HELPER_FAILURES, count, unit="{failure}", kind="counter", attributes={names.ERROR_TYPE: how}
            )
        cost = self._source.cost if told is not None else {}
        if "cpu_seconds" in cost:
            record(names.GPU_HELPER_CPU_TIME, cost["cpu_seconds"], unit="s", kind="counter")
        if "memory_bytes" in cost:
            record(names.GPU_HELPER_MEMORY, cost["memory_bytes"], unit="By")

    def close(self) -> None:
        """Let the helper end, which it does by itself when the sampler is gone; the next sample starts another one."""
        self._source.close()

    def _tell(self, gpu: GPUReading, record: Record) -> None:
        for key, value in gpu["values"].items():
            figure = FIGURES.get(key)
            if figure is not None:
                attributes = self._of(gpu, key, figure.attributes)
                record(figure.name, value, unit=figure.unit, kind=figure.kind, attributes=attributes)
        if gpu.get("info"):
            record(names.GPU_INFO, 1, attributes=self._of(gpu, "info", gpu["info"]))

    def _tell_events(self, record: Record) -> None:
        """Count the driver's error events, from 0 on, by their codes, of which it has some 150."""
        gpus = {gpu["id"]: gpu for gpu in self._gpus}
        while self._source.events:
            name, code = self._source.events.popleft()
            gpu = gpus.get(name, {"id": name, "name": "GPU", "values": {}})
            before = self._xids.get((name, code), 0)
            self._xids[name, code] = before + 1
            for count in (before, before + 1):
                attributes = self._of(gpu, f"xid {code}", {names.GPU_XID_NAME: code})
                record(names.GPU_XID, count, unit="{event}", kind="counter", attributes=attributes)

    def _of(self, gpu: GPUReading, key: str, more: Attributes) -> Attributes:
        place = gpu["id"], key
        found = self._attributes.get(place)
        if found is None or found[names.HARDWARE_NAME] != gpu["name"]:
            own = {names.HARDWARE_ID: gpu["id"], names.HARDWARE_NAME: gpu["name"], names.HARDWARE_TYPE: "gpu"}
            if "parent" in gpu:
                own[names.HARDWARE_PARENT] = gpu["parent"]
            found = self._attributes[place] = {**own, **more}
        return found
